"""``edge-export encoder fidelity``: one form of an encoder judged by another."""

import argparse
import json
from pathlib import Path

from export.commands.encoder_arguments import (
    add_budget,
    add_clips,
    add_encoder,
    card_of,
    clips_of,
    show_fidelity,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``fidelity``."""
    add_encoder(parser)
    parser.add_argument("after", type=Path, metavar="AFTER.onnx", help="what was made of it")
    add_clips(parser)
    add_budget(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Judge, report; above the budget an error."""
    from export.encoders.fidelity import compare

    before, after = card_of(args.encoder, args.card), card_of(args.after)
    fidelity = compare(before, after, clips_of(args, before.spec.chunk_s), args.cache)
    if args.json:
        print(json.dumps(fidelity.figures(), indent=1))
    else:
        show_fidelity(fidelity)
    fidelity.check(args.budget)
    return 0
