"""The ``edge-probe`` command.

Nothing heavy is imported here: ``--help`` must not cost a numpy import on a small board.
Data goes to stdout, logs to stderr. Exit codes: 0 ok, 1 user error, 2 usage, 3 hardware.
"""

import argparse
import importlib
import io
import keyword
import logging
import os
import sys
from collections.abc import Container, Mapping, Sequence

from edge_probe import __version__
from edge_probe.errors import EdgeProbeError

COMMANDS = {
    "demo": "classify a mixed scene with the demo bundle and check the result",
    "classify": "detections from audio files, a folder of them, or raw PCM on stdin",
    "merge": "join the shards of a folder that several machines classified",
    "listen": "detections from a microphone, live; keeps nothing",
    "run": "record for months: audio with a ledger of what is missing",
    "status": "is the recorder alive, and is it recording?",
    "tail": "detections, gaps and alarms as they come, from where you left off",
    "schedule": "when a deployment records: the next turns, or a week as text",
    "effort": "listening effort by UTC hour, as effort.csv",
    "check-site": "half a minute of levels and a list of what to look at before you leave",
    "devices": "list the microphones",
    "info": "versions, kernels and what is in a bundle",
    "snapshot": "copy a state folder as of one moment, while the recorder goes on",
    "collect": "bring cards from the field into an archive, verified",
    "results": "detections as BirdNET, Raven, Audacity, Parquet, Camtrap DP ... have them",
    "clips": "the best detections of every class, as sound and picture",
    "report": "a page to look at an archive, to listen to it, and to correct it",
    "validate": "precision and recall of detections, from windows that people judged",
    "retime": "put the wall time of a finished deployment right",
    "diff": "two bundles on the same audio: where they disagree, and what to listen to",
    "bench": "memory, time and card that a bundle costs this machine",
    "selftest": "prove that this machine computes what the bundle's maker saw",
}

DESCRIPTION = "Hear your species on a small board. Start with: edge-probe demo"

EXTRAS = {
    "desk": ("PIL", "guano", "matplotlib", "pyarrow"),
    "cluster": ("dask", "distributed"),
}
"""Packages that an extra brings; a recorder does without."""

_HINTS = {IsADirectoryError: "name a file in it", NotADirectoryError: "name a folder"}
"""What to do about some errors of the system."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``edge-probe`` and return its exit code."""
    # One BLAS thread: the recorder's cores are for the encoder, and threads cost memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run_program(
        "edge-probe",
        DESCRIPTION,
        "edge_probe.commands",
        COMMANDS,
        sys.argv[1:] if arguments is None else arguments,
    )


def run_program(
    program: str,
    description: str,
    package: str,
    commands: Mapping[str, str],
    arguments: Sequence[str],
) -> int:
    """Parse, import the chosen command's module, run it, and report what is the user's to mend.

    Parameters
    ----------
    program, description : str
        Name and purpose of the program.
    package : str
        Package with one module per command.
    commands : mapping of command name to its one-line help
    arguments : sequence of str
        Without the program name.
    """
    _open_streams()
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    parser = make_parser(program, description, package, commands, {chosen})
    args = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        if chosen is not None and args.options_from is not None:
            # In front of what was typed, which therefore wins.
            at = arguments.index(chosen) + 1
            words = [*arguments[:at], *args.options_from(args), *arguments[at:]]
            args = parser.parse_args(words)
        code: int = args.run(args)
        sys.stdout.flush()
    except EdgeProbeError as error:
        if args.debug:
            raise
        report(error)
        return error.exit_code
    except ImportError as error:
        if args.debug or (error.name or "").startswith(("edge_probe", "export", "firmware_tools")):
            raise
        extra = "[export]" if package.startswith("export") else ""
        for name, packages in EXTRAS.items():
            if not extra and (error.name or "").split(".")[0] in packages:
                extra = f"[{name}]"
        report(
            EdgeProbeError(
                f"the package {error.name or error} is missing: {error}",
                hint=f"in the folder of edge-probe: pip install '.{extra}'",
            )
        )
        return 1
    except BrokenPipeError:  # whoever read our output has enough
        _drop_stdout()
        return 0
    except OSError as error:
        if args.debug:
            raise
        _drop_stdout()
        where = f"{error.filename}: " if error.filename else ""
        hint = _HINTS.get(type(error), "look at free space and permissions")
        report(EdgeProbeError(f"{where}{error.strerror or error}", hint=hint))
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


def make_parser(
    program: str,
    description: str,
    package: str,
    commands: Mapping[str, str],
    imported: Container[str | None],
) -> argparse.ArgumentParser:
    """The parser of a program, of which only some commands know their options.

    Parameters
    ----------
    program, description, package, commands
        As `run_program` takes them.
    imported : container of str
        Commands whose modules are imported: the one that is to run, or all of them for the book.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_line in commands.items():
        sub = subparsers.add_parser(name, help=help_line, description=help_line)
        sub.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
        if name in imported:
            # A module must not be called "import": PEP 8 appends an underscore; nor "check-site".
            module_name = name.replace("-", "_") + "_" * keyword.iskeyword(name)
            module = importlib.import_module(f"{package}.{module_name}")
            module.add_arguments(sub)
            sub.set_defaults(run=module.run, options_from=getattr(module, "options_from", None))
    return parser


def _open_streams() -> None:
    """Make stdout and stderr take any text, in UTF-8, or take it nowhere if they are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere, so that exit does not complain a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(error: EdgeProbeError) -> None:
    """Print one line, and one more if there is a hint."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
