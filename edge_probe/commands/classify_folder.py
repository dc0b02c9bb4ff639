"""``edge-probe classify DIR``: a folder of recordings, on all cores or on a cluster."""

import argparse
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import whole
from edge_probe.errors import EdgeProbeError

if TYPE_CHECKING:
    from edge_probe.desk.survey.pace import Pace
    from edge_probe.desk.survey.survey import Summary, Workers
    from edge_probe.desk.survey.work import Work

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """Options of ``classify`` that are about a folder."""
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR",
        help="results; those that are there already are not made again",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=whole(1, 99_999), metavar="N", help="processes (default: all cores)"
    )
    parser.add_argument(
        "--shard", type=_shard, metavar="I/N", help="part I of N; edge-probe merge joins them"
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="work on a Dask cluster, such as tcp://HOST:8786"
    )


def refuse_options(args: argparse.Namespace) -> None:
    """Nothing that is about a folder was said of files.

    Raises
    ------
    EdgeProbeError
    """
    if args.out or args.jobs or args.shard or args.scheduler:
        for name in args.audio:
            if name != "-" and not Path(name).exists():
                raise EdgeProbeError(
                    f"{name}: no such folder", hint="is its disk there? is its name right?"
                )
        raise EdgeProbeError(
            "--out, --jobs, --shard and --scheduler are about a folder of recordings",
            hint="name a folder, or leave them out",
        )


def run(args: argparse.Namespace) -> int:
    """Classify a folder; Ctrl-C keeps what is done."""
    from edge_probe.commands.classify import load
    from edge_probe.desk.survey.survey import Request, classify_folder
    from edge_probe.interrupt import Interrupted

    _refuse_others(args)
    folder = Path(args.audio[0])
    _warn_of_recorder(folder)
    shard, n_shards = args.shard or (1, 1)
    bundle = load(args.bundle, args.profile).bundle
    request = Request(
        folder, args.out, bundle, args.profile, args.channel, args.utc_offset, shard, n_shards
    )

    def hire(work: "Work", pace: "Pace") -> "Workers":
        if args.scheduler:
            from edge_probe.desk.survey.cluster import Cluster

            return Cluster(work, args.scheduler, pace)
        from edge_probe.desk.survey.pool import Pool
        from edge_probe.processes import available_cores

        return Pool(work, args.jobs or available_cores(), pace)

    with Interrupted() as interrupted:
        summary = classify_folder(request, hire, sys.stderr, interrupted)
    if summary is None:
        _log.warning("interrupted: the same command goes on")
        return 130
    code = tell(args.out, summary)
    return code if n_shards == 1 else 0  # whether nothing at all is good, merge tells


def tell(out: Path, summary: "Summary") -> int:
    """Say what there is; 1: there are files, and none is good.

    Some bad files are no failure: no season is without, and what waits for the exit code is to go
    on with the others.
    """
    print(
        f"{out}: {summary.n_files} files, {summary.audio_s / 3600:.2f} h of audio,"
        f" {summary.n_detections} detections"
    )
    if summary.n_bad:
        _log.warning("%d files are not whole or not good: %s", summary.n_bad, out / "bad.csv")
    return int(summary.n_bad > 0 and not summary.audio_s)


def _refuse_others(args: argparse.Namespace) -> None:
    if len(args.audio) > 1:
        raise EdgeProbeError(
            "expected one folder, or files; found several names and a folder among them",
            hint="classify one folder at a time",
        )
    if args.out is None:
        raise EdgeProbeError(
            f"{args.audio[0]}: is a folder: its results are many, and are kept",
            hint="say where with --out DIR",
        )
    if args.start_time or args.json or args.rate or args.channels or args.format:
        raise EdgeProbeError(
            "--start-time, --json and options of raw PCM are not about a folder",
            hint="files tell when they began; edge-probe results DIR --format jsonl tells the rest",
        )
    if args.scheduler and args.jobs:
        raise EdgeProbeError(
            "--jobs is about processes of this machine", hint="a cluster has the workers it has"
        )


def _warn_of_recorder(folder: Path) -> None:
    if (folder / "capture.sqlite").exists() or any(folder.glob("*/capture.sqlite")):
        _log.warning(
            "%s: is of edge-probe recorders: its files are classified one by one, without their"
            " clocks and gaps", folder,
        )  # fmt: skip


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text)
    shard, n_shards = map(int, match.groups()) if match else (0, 0)
    if not 1 <= shard <= n_shards:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return shard, n_shards
