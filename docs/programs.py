"""The three programs with all of their options, for the book's reference and for its tests."""

import argparse
from collections.abc import Mapping

import edge_probe.cli
import export.cli
import firmware_tools.cli
from edge_probe.cli import make_parser


def probe() -> argparse.ArgumentParser:
    """``edge-probe``."""
    cli = edge_probe.cli
    return _quiet(
        make_parser(
            "edge-probe", cli.DESCRIPTION, "edge_probe.commands", cli.COMMANDS, cli.COMMANDS
        )
    )


def export_() -> argparse.ArgumentParser:
    """``edge-export``."""
    cli = export.cli
    return _quiet(
        make_parser("edge-export", cli.DESCRIPTION, "export.commands", cli.COMMANDS, cli.COMMANDS)
    )


def firmware() -> argparse.ArgumentParser:
    """``edge-firmware``."""
    cli = firmware_tools.cli
    return _quiet(
        make_parser(
            "edge-firmware", cli.DESCRIPTION, "firmware_tools.commands", cli.COMMANDS, cli.COMMANDS
        )
    )


PROGRAMS = {"edge-probe": probe, "edge-export": export_, "edge-firmware": firmware}


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """Of a parser, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _quiet(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """A parser that says nothing of the options of every command, --help and --debug."""
    for action in parser._actions:
        if action.dest in ("help", "debug"):
            action.help = argparse.SUPPRESS
    for below in subcommands(parser).values():
        _quiet(below)
    return parser
