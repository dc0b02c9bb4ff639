"""``edge-export encoder``: frozen encoders for the device; one module per subcommand."""

import argparse
import importlib

SUBCOMMANDS = {
    "convert": "a checkpoint of a known family, as an encoder",
    "cut": "somebody's ONNX graph up to one of its maps, as an encoder",
    "quantise": "int8 form of an encoder, written if it loses nothing",
    "low-memory": "optimised graph and mapped weights, written if they lose nothing",
    "fidelity": "what a form of an encoder loses against another",
    "chunks": "short chunks with kept maxima against full windows",
    "profile": "memory, bytes read again under memory caps, and time, in fresh processes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands, each with its own options."""
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name, help_line in SUBCOMMANDS.items():
        module = importlib.import_module(f"export.commands.encoder_{name.replace('-', '_')}")
        sub = subparsers.add_parser(name, help=help_line, description=help_line)
        module.add_arguments(sub)
        sub.set_defaults(run_subcommand=module.run)


def run(args: argparse.Namespace) -> int:
    """What the subcommand does."""
    code: int = args.run_subcommand(args)
    return code
