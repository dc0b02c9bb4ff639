"""Which files a program changes, or tries to, and whether it listens: told by strace."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

TOOLS = ("strace",)

_OPEN = ("open", "openat", "openat2")
_CHANGE = (
    "creat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat",
    "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "truncate", "chmod", "fchmod",
    "fchmodat", "chown", "fchown", "lchown", "fchownat", "utimensat", "setxattr", "fsetxattr",
    "lsetxattr", "removexattr",
)  # fmt: skip

_CALL = re.compile(r"\d+ +(\w+)\((.*)")
_PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")


def traced(log: Path) -> list[str]:
    """What runs a program, and its children, so that a log of these calls is kept."""
    calls = ",".join((*_OPEN, *_CHANGE, "listen"))
    return ["strace", "-f", "-qq", "-y", "--seccomp-bpf", "-o", str(log), "-e", f"trace={calls}"]


def changed(log: Path) -> Iterator[tuple[str, Path]]:
    """Calls that change a file, whether they succeeded or not: name, and each path they name."""
    for name, rest in _calls(log):
        if name in _OPEN and not _WRITES.search(_PATH.sub("", rest)):
            continue
        if name in ("fchmod", "fchown", "fsetxattr"):
            yield from ((name, Path(path)) for path in _DESCRIPTOR.findall(rest)[:1])
        elif name != "listen":
            yield from ((name, Path(folder) / path) for folder, path in _PATH.findall(rest))


def listened(log: Path) -> Sequence[str]:
    """Calls by which a socket begins to listen."""
    return [rest for name, rest in _calls(log) if name == "listen"]


def _calls(log: Path) -> Iterator[tuple[str, str]]:
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := _CALL.match(line):
            yield match[1], match[2]
