"""``edge-export tokens``: encode clips once."""

import argparse
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.tokens import TokenCache

_log = logging.getLogger(__name__)

DEMO_ENCODER = Path(__file__).parents[2] / "edge_probe" / "data" / "demo_bundle" / "encoder.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``tokens``."""
    add_clip_arguments(parser)


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that name clips, encoder and cache."""
    parser.add_argument(
        "clips",
        type=Path,
        help="folder of class folders or of annotated recordings, CSV manifest, or Raven table",
    )
    parser.add_argument(
        "--encoder", type=Path, default=DEMO_ENCODER, metavar="FILE.onnx",
        help="frozen encoder graph (default: the demonstration encoder)",
    )  # fmt: skip
    parser.add_argument("--card", type=Path, metavar="FILE.toml", help="facts about the encoder")
    parser.add_argument("--channel", type=int, metavar="N", help="channel of stereo clips, from 0")
    parser.add_argument(
        "--cache", type=Path, default=Path("token_cache"), metavar="DIR",
        help="where encoded clips are kept (default: token_cache)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=whole_number(1, 256), metavar="N",
        help="processes that encode (default: as many as there are CPU cores)",
    )  # fmt: skip
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="folds of the manifest")


def open_cache(args: argparse.Namespace) -> "TokenCache":
    """The token cache of the chosen encoder."""
    from export.card import CARDS, read_card
    from export.tokens import TokenCache

    card = args.card
    if card is None and args.encoder == DEMO_ENCODER:
        card = CARDS / "demo_encoder.toml"
    return TokenCache(args.cache, read_card(args.encoder, card), args.channel, args.workers)


def run(args: argparse.Namespace) -> int:
    """Encode every clip that is not in the cache yet."""
    from export.clips import read_clips

    cache = open_cache(args)
    clips = read_clips(args.clips, args.folds, cache.card.spec.chunk_s)
    encoded = cache.encode(clips.clips, "encode")
    report_unreadable([*clips.left_out, *encoded.unreadable])
    print(f"{len(encoded.clips)} clips of {len(clips.labels)} classes are encoded")
    print(encoded.summary())
    return 0


def report_unreadable(lines: list[str]) -> None:
    """List the clips that could not be used."""
    for line in lines:
        _log.warning("left out: %s", line)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number within limits."""

    def parse(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,10}", text) and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high}, found {text!r}"
            )
        return int(text)

    return parse
