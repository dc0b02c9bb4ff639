"""``edge-export encoder low-memory``: the optimised graph, and its weights beside it."""

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``low-memory``."""
    add_encoder(parser)
    add_out(parser)
    add_clips(parser)
    add_budget(parser)


def run(args: argparse.Namespace) -> int:
    """Optimise, judge, write, report."""
    from export.encoders.gated import write_gated
    from export.encoders.low_memory import data_of, write_pair
    from export.onnx_files import refuse_name

    out = new_file(args.out)
    refuse_name(data_of(out))
    card = card_of(args.encoder, args.card)
    clips = clips_of(args, card.spec.chunk_s)
    written, fidelity = write_gated(
        card, out, "low-memory pair", lambda path: write_pair(card, path),
        clips, args.cache, args.budget,
    )  # fmt: skip
    show_fidelity(fidelity)
    beside = ", ".join(path.name for path in written.external_data) or "no data: it is too small"
    print(f"encoder   {out}, {beside}")
    return 0
