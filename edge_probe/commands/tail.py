"""``edge-probe tail``: what happened since you last looked, for programs that send it somewhere."""

import argparse
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from edge_probe.commands.state import add_state

if TYPE_CHECKING:
    from edge_probe.alive.cursor import Cursor
    from edge_probe.alive.events import Event

POLL_S = 1.0
"""Between looks with ``--follow``."""

NOW = "now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``tail``."""
    add_state(parser)
    parser.add_argument(
        "--since", metavar="CURSOR",
        help=f"only what came after: the cursor of a line, or {NOW!r} (default: the beginning)",
    )  # fmt: skip
    parser.add_argument(
        "--cursor-file", type=Path, metavar="FILE",
        help="begin where FILE says, and keep in it, safe from a power cut, how far it got",
    )  # fmt: skip
    parser.add_argument("--follow", action="store_true", help="wait for more; Ctrl-C ends")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Write events, then how far it got: after a kill some lines come twice, none is lost."""
    from edge_probe.alive.cursor import save
    from edge_probe.interrupt import until_interrupted

    for events in until_interrupted(_batches(args.state, _begin(args), args.follow)):
        for event in events:
            line = event.fields | {"cursor": str(event.cursor)}
            print(json.dumps(line, ensure_ascii=False) if args.json else _row(event.fields))
        _flush()
        if args.cursor_file is not None:
            save(args.cursor_file, events[-1].cursor)
    return 0


def _begin(args: argparse.Namespace) -> "Cursor | None":
    from edge_probe.alive.cursor import Cursor, load
    from edge_probe.alive.events import newest

    if args.since == NOW:
        return newest(args.state)
    if args.since is not None:
        return Cursor.parse(args.since)
    return load(args.cursor_file) if args.cursor_file is not None else None


def _batches(state: Path, cursor: "Cursor | None", follow: bool) -> "Iterator[Sequence[Event]]":
    from edge_probe.alive.events import read_events

    while True:
        events, cursor = read_events(state, cursor)
        if events:
            yield events
        elif follow:
            sleep(POLL_S)
        else:
            return


def _flush() -> None:
    """Hand the lines on; those in a file are on the disk before the cursor says so."""
    sys.stdout.flush()
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fsync(sys.stdout.fileno())


def _row(fields: Mapping[str, object]) -> str:
    """For people: at most 80 columns for usual names."""
    time = fields["time_utc"] or f"boot {fields['boot']}"
    match fields["kind"]:
        case "detection":
            mark = " (not expected here)" if fields["suppressed"] else ""
            what = f"{fields['label']} {fields['score']:.2f}{mark}"
        case "alarm":
            what = str(fields["text"])
        case kind:
            length = "open" if fields["duration_s"] is None else f"{fields['duration_s']} s"
            what = f"{length}: {fields['cause'] if kind == 'gap' else fields['reason']}"
    return f"{time:<24}  {fields['kind']:<9}  {what}"
