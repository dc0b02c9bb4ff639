"""A command as it is typed, in this process: starting one that needs torch takes seconds."""

import io
import logging
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple


class Done(NamedTuple):
    """What came of it, as `subprocess.CompletedProcess` has it."""

    returncode: int
    stdout: str
    stderr: str
    """What was logged, too."""


def typed(
    main: Callable[[Sequence[str]], int], arguments: Sequence[object], cwd: Path | None = None
) -> Done:
    """Run the entry point of a program; an exception that would be a traceback is raised."""
    out, err = io.StringIO(), io.StringIO()
    log = logging.StreamHandler(err)  # basicConfig does nothing where pytest listens to the log
    log.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.INFO)
    try:
        with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse's
        code = int(error.code or 0)
    finally:
        root.removeHandler(log)
        root.setLevel(level)
    return Done(code, out.getvalue(), err.getvalue())
