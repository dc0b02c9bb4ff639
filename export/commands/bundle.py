"""``edge-export bundle``: a finished bundle in other forms."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``bundle``."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--single-graph", type=Path, required=True, metavar="OUT.onnx",
        help="write encoder and head as one ONNX file of standard operators; operators of "
        "com.microsoft in the encoder are kept, and such a file needs onnxruntime",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Build, prove, write, report."""
    from edge_probe.bundle import open_bundle
    from export.single_graph import write_single_graph

    bundle = open_bundle(args.bundle)
    model = write_single_graph(bundle, args.single_graph)
    print(f"bundle    {bundle.id}")
    print(f"model     {args.single_graph}  ({args.single_graph.stat().st_size / 2**10:.0f} KiB)")
    opsets = ", ".join(f"{each.domain or 'ai.onnx'} {each.version}" for each in model.opset_import)
    print(f"operators {opsets}; IR version {model.ir_version}")
    return 0
