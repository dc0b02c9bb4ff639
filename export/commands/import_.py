"""``edge-export import``: somebody's trained head as a bundle."""

import argparse
import logging
from pathlib import Path

from edge_probe.arguments import between

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``import``."""
    parser.add_argument(
        "checkpoint", type=Path, help="a .pt, .ckpt, .safetensors, .npz or .tflite file"
    )
    parser.add_argument(
        "--encoder", type=Path, required=True, metavar="FILE.onnx",
        help="graph of the encoder that the head was trained on",
    )  # fmt: skip
    parser.add_argument("--card", type=Path, metavar="FILE.toml", help="facts about the encoder")
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="FILE.txt",
        help="one class a line, in the order of training",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    parser.add_argument("--replace", action="store_true", help="replace a bundle of that name")
    parser.add_argument("--name", help="name of the bundle (default: the folder's)")
    parser.add_argument(
        "--threshold-score", type=between(0, 1), default=0.5, metavar="S",
        help="score from which every class is detected; nothing is calibrated (default: 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--linear", choices=("float32", "int8"),
        help="weights of a prototype head's linear layer (default: float32, as trained; int8 where "
        "a class-bound layer would exceed 32 MiB)",
    )  # fmt: skip
    said = parser.add_argument_group("where the file does not tell how the head was trained")
    said.add_argument(
        "--head", choices=("protobin", "protofloat"),
        help="whether signs of the prototypes are matched, or the prototypes themselves",
    )  # fmt: skip
    tokens = said.add_mutually_exclusive_group()
    tokens.add_argument(
        "--minus-cls", metavar="OUTPUT",
        help="[cls], this output of the encoder graph, is taken from every token "
        "(focal_similarity: true)",
    )  # fmt: skip
    tokens.add_argument("--raw-tokens", action="store_true", help="tokens are matched as they are")
    said.add_argument(
        "--upsample", type=int, choices=(1, 2),
        help="2: the token map is upsampled first (add_on_layers_type: upsample)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Read, check, write, report."""
    from export.card import read_card
    from export.foreign.assemble import import_bundle, read_labels
    from export.foreign.recipe import Declared, read_recipe

    labels = read_labels(args.labels)
    declared = Declared(args.head, args.raw_tokens, args.minus_cls, args.upsample, args.linear)
    recipe = read_recipe(args.checkpoint, declared)
    bundle = import_bundle(
        args.checkpoint,
        recipe,
        read_card(args.encoder, args.card),
        labels,
        args.out,
        name=args.name or args.out.name,
        threshold_score=args.threshold_score,
        replace=args.replace,
    )
    for note in recipe.notes:
        _log.warning("%s", note)
    _log.warning("no threshold is calibrated and no background was heard: listen to what it finds")
    head = recipe.head
    print(f"bundle    {bundle.id}  ({args.out})")
    print(f"head      {recipe.lineage}: {head.kind}, {len(labels)} classes, {head.linear.kind}")
    print(f"tokens    {', '.join(recipe.steps.describe()) or 'as the encoder gives them'}")
    print(f"threshold {bundle.threshold_on[0]:.3f} (score {args.threshold_score}) for every class")
    return 0
