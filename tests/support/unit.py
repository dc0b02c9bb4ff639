"""A systemd unit as a test reads it, and its rules for system calls, put in force without systemd.

``unit.py UNIT PROGRAM ARGUMENT…`` runs a program so that the kernel kills it at the first call that
the unit does not allow (systemd would let the call fail). Needs ``systemd-analyze`` and libseccomp.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

UNITS = Path(__file__).parents[2] / "firmware_tools" / "units"

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
"""seccomp(2): SECCOMP_RET_ALLOW, _KILL_PROCESS, _ERRNO."""

HARMLESS = ("mbind", "set_mempolicy", "fchown")
"""Calls that may fail, as systemd lets them: OpenBLAS asks for memory near its processor and takes
any; libnuma, which comes with ALSA's plugins, tries what the kernel can do; SQLite, where it runs
as root and only there, gives a file to its owner, who has it."""

_EQUAL, _DIFFERENT = 7, 1
"""libseccomp: SCMP_CMP_MASKED_EQ, SCMP_CMP_NE."""

_EPERM, _EAFNOSUPPORT, _AF_UNIX = 1, 97, 1
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000


class Unit:
    """Sections and keys; a key may stand there more than once.

    Parameters
    ----------
    name : str
        Of a file in ``firmware_tools/units``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = UNITS / name
        self._lines: list[tuple[str, str, str]] = []
        section = ""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self._lines.append((section, key, value))

    def all(self, key: str) -> list[str]:
        """Values of a key, in order."""
        return [value for _, name, value in self._lines if name == key]

    def words(self, key: str) -> list[str]:
        """Words of all its values."""
        return " ".join(self.all(key)).split()

    def one(self, key: str) -> str:
        """Of a key that stands there once."""
        (value,) = self.all(key)
        return value

    def calls(self) -> set[str]:
        """System calls it allows."""
        allowed: set[str] = set()
        for line in self.all("SystemCallFilter"):
            named = {call for word in line.lstrip("~").split() for call in calls_of(word)}
            allowed = allowed - named if line.startswith("~") else allowed | named
        if self.all("ProtectClock") == ["yes"]:
            allowed -= calls_of("@clock")
        return allowed | calls_of("@default")


def calls_of(word: str) -> set[str]:
    """A call by its name, or a set of systemd's with all that is in it."""
    if not word.startswith("@"):
        return {word}
    return {call for inside in _sets()[word] for call in calls_of(inside)}


@cache
def _sets() -> dict[str, list[str]]:
    """What this systemd has."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    sets: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            sets[line] = members = []
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())
    return sets


class _Argument(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("number", ctypes.c_uint), ("compare", ctypes.c_int),
        ("a", ctypes.c_uint64), ("b", ctypes.c_uint64),
    )  # fmt: skip


def confine(unit: Unit) -> None:
    """Put its rules in force for this process and all that come of it, for good."""
    calls, library = unit.calls(), ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    if unit.all("MemoryDenyWriteExecute") == ["yes"]:  # as systemd.exec(5) says
        executable = [("mmap", 2, _PROT_EXEC | _PROT_WRITE), ("mprotect", 2, _PROT_EXEC),
                      ("pkey_mprotect", 2, _PROT_EXEC), ("shmat", 2, _SHM_EXEC)]  # fmt: skip
        _load(library, _ALLOW, lambda: (
            (_ERRNO | _EPERM, call, _Argument(number, _EQUAL, bits, bits))
            for call, number, bits in executable
        ))  # fmt: skip
    if unit.words("RestrictAddressFamilies") == ["AF_UNIX"]:
        only_unix = _Argument(0, _DIFFERENT, _AF_UNIX, 0)
        _load(library, _ALLOW, lambda: iter([(_ERRNO | _EAFNOSUPPORT, "socket", only_unix)]))
    rules = dict.fromkeys(HARMLESS, _ERRNO | _EPERM) | dict.fromkeys(calls, _ALLOW)
    _load(library, _KILL, lambda: ((action, call, None) for call, action in rules.items()))


def _load(
    library: Any, otherwise: int, rules: Callable[[], Iterator[tuple[int, str, _Argument | None]]]
) -> None:
    filter_ = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(otherwise)))
    for action, call, argument in rules():
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # another architecture's
            continue
        more = [] if argument is None else [argument]
        code = library.seccomp_rule_add(
            filter_, ctypes.c_uint32(action), number, ctypes.c_uint(len(more)), *more
        )
        assert code == 0, (call, os.strerror(-code))
    assert library.seccomp_load(filter_) == 0
    library.seccomp_release(filter_)


if __name__ == "__main__":
    confine(Unit(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
