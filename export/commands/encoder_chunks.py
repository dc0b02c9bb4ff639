"""``edge-export encoder chunks``: chunks with kept maxima against full windows."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError
from export.commands.encoder_arguments import add_clips, card_of, clips_of, seconds
from export.commands.tokens import whole_number

if TYPE_CHECKING:
    from export.card import EncoderCard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``chunks``."""
    parser.add_argument(
        "encoders", type=Path, nargs="+", metavar="ENCODER.onnx",
        help="one that takes any length, or one encoder exported at several lengths",
    )  # fmt: skip
    add_clips(parser)
    parser.add_argument(
        "--window-s", type=seconds(60), default=5.0, metavar="S",
        help="longest chunk of an encoder that takes any length (default 5)",
    )  # fmt: skip
    parser.add_argument(
        "--chunk-samples", type=whole_number(1, 2**24), nargs="+", metavar="N",
        help="the lengths to try (default: the window in 1, 2, 3, 4, 6 and 8 parts)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Judge, and print a line for each length."""
    from export.encoders.chunk_report import chunk_report
    from export.encoders.lengths import refuse_others

    cards = sorted(_cards(args), key=lambda card: -card.spec.chunk_samples)
    refuse_others(cards)
    rows = chunk_report(cards, clips_of(args, cards[0].spec.chunk_s), args.cache)
    print("chunk s  per window  mAP as taught on windows  mAP taught on chunks  ms per s of sound")
    for row in rows:
        print(
            f"{row.chunk_s:7.3f}  {row.window_chunks:10}  {row.map_long:24.2f}  "
            f"{row.map_own:20.2f}  {row.ms_per_s:17.1f}"
        )
    return 0


def _cards(args: argparse.Namespace) -> "list[EncoderCard]":
    from export.encoders.lengths import allowed_within, at_length, is_open

    cards = [card_of(path) for path in args.encoders]
    if len(cards) > 1 or not is_open(cards[0]):
        if args.chunk_samples:
            raise EdgeProbeError(
                f"{cards[0].graph}: --chunk-samples is for one encoder that takes any length",
                hint="leave it out, and give one file for each length",
            )
        return cards
    if args.chunk_samples:
        return [at_length(cards[0], n) for n in args.chunk_samples]
    return allowed_within(cards[0], args.window_s)
