"""``edge-probe listen``: a microphone in, detections out, live; keeps nothing unless asked to."""

import argparse
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import between, whole
from edge_probe.commands.classify import add_common_arguments, load, writer

if TYPE_CHECKING:
    from edge_probe.classify import ChunkAnalyser, RunClassifier
    from edge_probe.output import Writer
    from edge_probe.source.microphone import Microphone
    from edge_probe.source.wav import WavWriter

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``listen``."""
    parser.add_argument("--device", metavar="NAME", help="name, part of it, or number")
    add_common_arguments(parser)
    parser.add_argument(
        "--rate", type=whole(1_000, 1_000_000), metavar="HZ", help="default: the device's own rate"
    )
    parser.add_argument(
        "--channels", type=whole(1, 256), default=1, help="channels to open (default 1)"
    )
    parser.add_argument(
        "--duration", type=between(0, 1e9), metavar="S", help="stop after S seconds"
    )
    parser.add_argument("--save", type=Path, metavar="FILE.wav", help="keep what was heard")


def run(args: argparse.Namespace) -> int:
    """Listen until the duration is over or somebody presses Ctrl-C."""
    from edge_probe.clock import SystemClock
    from edge_probe.source.microphone import Microphone
    from edge_probe.source.wav import WavWriter

    microphone = Microphone(
        args.device, SystemClock(), sample_rate_hz=args.rate, n_channels=args.channels,
        channel=args.channel, duration_s=args.duration,
    )  # fmt: skip
    analyser = load(args.bundle, args.profile)
    _log.info(
        "listening to %s, %d Hz, channel %d; Ctrl-C ends",
        microphone.name, microphone.sample_rate_hz, microphone.channel,
    )  # fmt: skip
    keep = (
        WavWriter(args.save, microphone.sample_rate_hz, microphone.n_channels)
        if args.save
        else nullcontext()
    )
    with keep as saved:
        heard_s = _listen(microphone, analyser, writer(args.json), saved)
    _log.info(
        "heard %.1f s; %d frames missing; %d overflows reported by PortAudio",
        heard_s, microphone.n_missing, microphone.n_overflows,
    )  # fmt: skip
    return 0


def _listen(
    microphone: "Microphone",
    analyser: "ChunkAnalyser",
    write: "Writer",
    saved: "WavWriter | None",
) -> float:
    """Classify run after run; a gap ends a run. Returns the seconds heard."""
    import numpy as np

    from edge_probe.interrupt import until_interrupted

    classifier: RunClassifier | None = None
    n_heard, n_axis = 0, 0  # frames received, and frames that should have been
    try:
        for frames, n_missing in until_interrupted(microphone.frames()):
            if n_missing and classifier is not None:
                for event in classifier.finish():
                    write(event)
                classifier = None
            n_axis += n_missing
            if classifier is None:
                classifier = _new_run(microphone, analyser, n_axis)
            samples = frames[:, microphone.channel].astype(np.float32) / np.float32(2**15)
            n_heard += len(frames)
            n_axis += len(frames)
            for event in classifier.push(samples):
                write(event)
            if saved is not None:
                saved.write(frames)
    finally:
        if classifier is not None:
            for event in classifier.finish():
                write(event)
    return n_heard / microphone.sample_rate_hz


def _new_run(
    microphone: "Microphone", analyser: "ChunkAnalyser", n_frames_before: int
) -> "RunClassifier":
    from edge_probe.classify import Run, RunClassifier
    from edge_probe.clock import system_clock_trust

    start_s = n_frames_before / microphone.sample_rate_hz
    run_of = Run(
        microphone.name, microphone.channel, microphone.sample_rate_hz, start_s,
        microphone.start_utc, system_clock_trust(),
    )  # fmt: skip
    return RunClassifier(analyser, run_of)
