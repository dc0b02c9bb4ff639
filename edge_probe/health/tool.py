"""Small programs of the system that are asked for a fact: no shell, and never for long."""

import contextlib
import os

from edge_probe.errors import DeviceError

TIMEOUT_S = 3.0
"""The ring holds ten times that."""


def ask(*arguments: str, package: str) -> str:
    """Run a program and return what it prints.

    Parameters
    ----------
    arguments : str
        Program, then its arguments.
    package : str
        Debian package that has it, for the hint.

    Raises
    ------
    DeviceError
        It is not there, takes too long or fails.
    """
    import subprocess  # only here: the recorder seldom asks and should stay small

    program = arguments[0]
    try:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise DeviceError(
            f"{program}: cannot be run: {error.strerror}", hint=f"sudo apt install {package}"
        ) from error
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        # Not waited for without end: a driver that hangs keeps it where no signal reaches it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S)
        if process.stdout:
            process.stdout.close()
        raise DeviceError(
            f"{program}: no answer within {TIMEOUT_S:g} s", hint="its driver hangs: unplug, reboot"
        ) from error
    text = output.decode("utf-8", "replace")
    if process.returncode != 0:
        said = " ".join(text.split())[:200] or f"exit code {process.returncode}"
        raise DeviceError(f"{' '.join(arguments)}: {said}", hint="try the same command by hand")
    return text
