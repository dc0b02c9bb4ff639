"""``edge-probe classify``: files, a folder or a pipe in, detections out."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import moment, offset, whole
from edge_probe.commands import classify_folder
from edge_probe.errors import AudioError, EdgeProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_probe.classify import ChunkAnalyser, Run
    from edge_probe.output import Writer

PCM_FORMATS = ("u8", "s16", "s24", "s32", "f32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``classify``."""
    parser.add_argument(
        "audio", nargs="+", help="audio files, one folder of them, or - for raw PCM on stdin"
    )
    add_common_arguments(parser)
    pcm = parser.add_argument_group("raw PCM on stdin")
    pcm.add_argument("--rate", type=whole(1_000, 1_000_000), metavar="HZ", help="sample rate")
    pcm.add_argument("--channels", type=whole(1, 256), help="interleaved channels (default 1)")
    pcm.add_argument("--format", choices=PCM_FORMATS, help="little-endian samples (default s16)")
    parser.add_argument(
        "--start-time", type=moment, metavar="RFC3339",
        help="wall time of the first sample, such as 2026-05-01T04:30:00Z",
    )  # fmt: skip
    parser.add_argument(
        "--file-times", action="store_true",
        help="wall time by GUANO metadata, or by names as of AudioMoth, Song Meter or BTO",
    )  # fmt: skip
    parser.add_argument(
        "--utc-offset", type=offset, metavar="+HH:MM",
        help="of the recorder's clock, where files do not tell it",
    )  # fmt: skip
    classify_folder.add_arguments(parser.add_argument_group("a folder"))
    parser.epilog = (
        "exit code 1: of files, one is not whole or not good; of a folder, all are: some bad ones"
        " are left out, and stand in OUT/bad.csv"
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that ``classify`` and ``listen`` share."""
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="default: the demo bundle")
    parser.add_argument(
        "--channel",
        type=whole(0),
        metavar="N",
        help="channel to use, counted from 0; never averaged",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument(
        "--profile", choices=("low-memory", "fast"), default="low-memory",
        help="encoder session: least memory (default) or least time",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Classify every source; one that fails does not stop the others."""
    from edge_probe.cli import report

    if any(Path(name).is_dir() for name in args.audio):
        return classify_folder.run(args)
    classify_folder.refuse_options(args)
    if "-" not in args.audio and (args.rate or args.channels or args.format):
        raise EdgeProbeError(
            "--rate, --channels and --format are about raw PCM on stdin; files say it themselves",
            hint="leave them out, or name - as the audio",
        )
    if args.file_times and (args.start_time or "-" in args.audio):
        raise EdgeProbeError(
            "--file-times is about files that tell when they began",
            hint="a pipe tells nothing, and --start-time tells all: leave one of them out",
        )
    analyser = load(args.bundle, args.profile)
    write = writer(args.json)
    failed = 0
    for name in args.audio:
        try:
            if name == "-":
                _classify_stdin(args, analyser, write)
            else:
                _classify_file(Path(name), args, analyser, write)
        except EdgeProbeError as error:
            if args.debug:
                raise
            report(error)
            failed = error.exit_code
    return failed


def load(bundle: Path | None, profile: str) -> "ChunkAnalyser":
    """Open the bundle, or the demo bundle, and its encoder."""
    import logging

    from edge_probe.bundle import open_bundle
    from edge_probe.classify import ChunkAnalyser

    log = logging.getLogger(__name__)
    if bundle is None:
        bundle = DEMO_BUNDLE
        log.info("no --bundle given: using the demo bundle (ten everyday sounds)")
    opened = open_bundle(bundle)
    for warning in opened.warnings:
        log.warning("%s", warning)
    return ChunkAnalyser(opened, profile)  # type: ignore[arg-type]


DEMO_BUNDLE = Path(__file__).parents[1] / "data" / "demo_bundle"


def writer(as_json: bool) -> "Writer":
    """Where events go: stdout, in the chosen form."""
    from edge_probe.output import json_writer, table_writer

    return json_writer(sys.stdout) if as_json else table_writer(sys.stdout)


def _classify_file(
    path: Path, args: argparse.Namespace, analyser: "ChunkAnalyser", write: "Writer"
) -> None:
    from edge_probe.classify import Run
    from edge_probe.source.files import AudioFile

    with AudioFile(path, args.channel) as audio:
        start, trust = args.start_time, "manual" if args.start_time else "unset"
        if args.file_times:
            from edge_probe.desk.names import began

            start, trust = began(path, args.utc_offset), "rtc"
        info = Run(audio.name, audio.channel, audio.sample_rate_hz, 0.0, start, trust)
        _classify(audio, info, analyser, write)


def _classify_stdin(args: argparse.Namespace, analyser: "ChunkAnalyser", write: "Writer") -> None:
    from edge_probe.classify import Run
    from edge_probe.interrupt import until_interrupted
    from edge_probe.source.pcm import PcmStream

    if sys.stdin is None:
        raise AudioError("stdin is closed", hint="pipe raw PCM into edge-probe classify -")
    if args.rate is None:
        raise AudioError(
            "raw PCM has no header: its sample rate is not known",
            hint="add --rate 48000 --channels 1 --format s16 (as given to arecord -t raw)",
        )
    audio = PcmStream(
        sys.stdin.buffer, name="stdin", sample_rate_hz=args.rate, n_channels=args.channels or 1,
        sample_format=args.format or "s16", channel=args.channel,
    )  # fmt: skip
    start, trust = args.start_time, "manual" if args.start_time else "unset"
    info = Run(audio.name, audio.channel, audio.sample_rate_hz, 0.0, start, trust)
    _classify(until_interrupted(audio), info, analyser, write)


def _classify(
    blocks: "Iterable[NDArray[np.float32]]", run: "Run", analyser: "ChunkAnalyser", write: "Writer"
) -> None:
    from edge_probe.classify import classify_blocks

    problem = classify_blocks(blocks, run, analyser, write).problem
    if problem is not None:
        raise problem
