"""``edge-export encoder quantise``: int8 forms, judged before they are written."""

import argparse

from export.commands.encoder_arguments import (
    add_budget,
    add_clips,
    add_encoder,
    add_out,
    card_of,
    clips_of,
    new_file,
    show_fidelity,
)

METHODS = ("dynamic", "static", "dynamic-conv", "float16", "4-bit")
"""The last three are refused, with the reason."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``quantise``."""
    add_encoder(parser)
    add_out(parser)
    parser.add_argument(
        "--method", choices=METHODS,
        help="dynamic for transformers, static for convolutional encoders (default: by where the "
        "weights are); the others are refused, with the reason",
    )  # fmt: skip
    add_clips(parser)
    add_budget(parser)


def run(args: argparse.Namespace) -> int:
    """Quantise, judge, write, report."""
    from export.encoders.calibration_chunks import calibration_chunks
    from export.encoders.gated import write_gated
    from export.encoders.model import load_model
    from export.encoders.quantise import quantise, refuse, refuse_form, suited

    refuse(args.method)
    card, out = card_of(args.encoder, args.card), new_file(args.out)
    refuse_form(card, out)
    method = args.method or suited(load_model(card.graph))
    clips = clips_of(args, card.spec.chunk_s)
    written, fidelity = write_gated(
        card, out, f"int8, {method}",
        lambda path: quantise(card, path, method, lambda: calibration_chunks(clips, card.spec)),
        clips, args.cache, args.budget,
    )  # fmt: skip
    show_fidelity(fidelity)
    before, after = (
        sum(path.stat().st_size for path in (encoder.graph, *encoder.external_data)) / 2**20
        for encoder in (card, written)
    )
    print(f"encoder   {out}: {method}, {before:.1f} -> {after:.1f} MiB")
    return 0
