"""Processes that die before the n-th change they make to a file, by audit hooks (PEP 578)."""

import os
import sys
import traceback
from collections.abc import Callable

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate"}
"""Raised before it is done, as is ``open``."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

KILLED = 9


def dies(work: Callable[[], object], before: int) -> bool:
    """Work in a fork of this process that dies before so many changes, from 1; whether it did.

    Raises
    ------
    AssertionError
        The work raised an error.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _die(before)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a child must never run on as its parent
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), "it failed before it could die"
    return code == KILLED


def _die(before: int) -> None:
    left = before

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open":
            flags = arguments[2]
            is_change = isinstance(flags, int) and bool(flags & _WRITES)
        else:
            is_change = event in EVENTS
        if is_change:
            left -= 1
            if left == 0:
                os._exit(KILLED)

    sys.addaudithook(hook)
