"""``edge-export encoder convert``: a checkpoint becomes an encoder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from export.commands.encoder_arguments import (
    refuse_existing,
    refuse_unwritable,
    seconds,
    words,
)
from export.commands.tokens import whole_number
from export.encoders.families import NAMES

if TYPE_CHECKING:
    from export.encoders.convert import Converted
    from export.encoders.encoder import Loaded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``convert``."""
    parser.add_argument(
        "checkpoint",
        help="a .safetensors, .pt or .bin file, or hf:owner/name of a model on Hugging Face's hub",
    )
    parser.add_argument("--family", required=True, choices=NAMES, help="whose checkpoint it is")
    parser.add_argument(
        "--chunk-s", type=seconds(600), required=True, metavar="S",
        help="length of a chunk; 5.12 holds a whole number of tokens for most families",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE.onnx|DIR",
        help="the graph; its card, and weights above 128 MiB, are put beside it",
    )  # fmt: skip
    parser.add_argument(
        "--name", type=words,
        help="of the encoder (default: the family, and the name of the file or model)",
    )  # fmt: skip
    size = parser.add_argument_group("size", "where it is not that of a published checkpoint")
    size.add_argument("--depth", type=whole_number(1, 1000), metavar="N", help="blocks")
    size.add_argument(
        "--heads", type=whole_number(1, 1000), metavar="N", help="of attention; no file tells"
    )


def run(args: argparse.Namespace) -> int:
    """Read, build, write, prove, report."""
    from export.encoders.convert import convert
    from export.encoders.encoder import load_encoder
    from export.encoders.families import family
    from export.encoders.family import Wish
    from export.encoders.hub import local_file
    from export.foreign.containers import read_checkpoint

    known = family(args.family)
    path = local_file(args.checkpoint)
    graph = args.out
    if graph.suffix != ".onnx":
        graph = graph / f"{args.family}_{path.stem}.onnx"
    refuse_existing(graph)
    refuse_unwritable(graph.parent)
    loaded = load_encoder(read_checkpoint(path), known, args.chunk_s, Wish(args.depth, args.heads))
    on_hub = f"{known.title}: {args.checkpoint.removeprefix('hf:')}"
    name = on_hub if args.name is None and args.checkpoint.startswith("hf:") else args.name
    _report(loaded, convert(loaded, graph, name=name))
    return 0


def _report(loaded: "Loaded", converted: "Converted") -> None:
    known, size, grid = loaded.family, loaded.size, loaded.grid
    rate_hz = known.front_end.sample_rate_hz
    print(f"family    {known.title} ({loaded.named.naming.title})")
    if known.note:
        print(f"          {known.note}")
    print(f"size      width {size.width}, depth {size.depth}, heads {size.heads}")
    weights = known.weights
    print(f"licence   {weights.licence}; commercial use: {weights.commercial} ({weights.source})")
    print(f"chunk     {loaded.chunk_samples} samples, {loaded.chunk_samples / rate_hz:g} s")
    if loaded.unheard_samples:
        print(f"          the last {loaded.unheard_samples / rate_hz:.3f} s of it are not heard")
    print(f"tokens    D {grid.n_dims}, S_t {grid.n_time}, S_f {grid.n_freq}, every "
          f"{grid.step_samples / rate_hz * 1e3:g} ms")  # fmt: skip
    if grid.band_edges_hz is not None:
        print(f"rows      edges {', '.join(f'{edge:.0f}' for edge in grid.band_edges_hz)} Hz")
    print(f"parity    {converted.difference:.1e} from torch")
    graph = converted.card.graph
    files = [graph, *converted.card.external_data]
    n_mib = sum(file.stat().st_size for file in files) / 2**20
    print(f"encoder   {graph}, card {graph.with_suffix('.toml').name}  ({n_mib:.1f} MiB)")
