"""``edge-probe collect``: bring cards from the field into an archive, verified."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_probe.desk.record import Collection

MAX_SHOWN = 10
"""Bad items of a card; all are in collected.json."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``collect``."""
    parser.add_argument(
        "states", nargs="+", type=Path, metavar="STATE",
        help="a recorder's folder, on its card or a copy; it is not changed",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="ARCHIVE",
        help="made if it is not there; one that is there is gone on with",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """One line for each card, and one for each bad item; 1 if there is any."""
    from edge_probe.desk.collect import collect
    from edge_probe.desk.progress import Progress

    progress = Progress(sys.stderr)
    code = 0
    try:
        for outcome in collect(args.states, args.out, progress):
            progress.end()
            if outcome.collection is not None:
                print(f"{outcome.deployment_id} from {outcome.source}: {told(outcome.collection)}")
            elif outcome.error is not None:
                print(f"not collected: {outcome.error.message}")
                if outcome.error.hint:
                    print(f"  hint: {outcome.error.hint}")
            sys.stdout.flush()
            code = code if outcome.is_good else 1
    finally:
        progress.end()
    return code


def told(collection: "Collection") -> str:
    """What was brought, and what is bad."""
    lines = [
        f"{collection.n_copied} files ({collection.copied_bytes / 1e6:.1f} MB) copied,"
        f" {collection.n_there} were there, {len(collection.bad)} bad"
    ]
    lines += [f"  note: {note}" for note in collection.notes]
    lines += [f"  bad: {bad.what}: {bad.why}" for bad in collection.bad[:MAX_SHOWN]]
    if more := collection.bad[MAX_SHOWN:]:
        lines.append(f"  and {len(more)} more, in collected.json")
    return "\n".join(lines)
