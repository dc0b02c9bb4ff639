"""What wheels take on a card once they are installed.

``python -m firmware_tools.wheels WHEEL...`` prints the figure of `runtime.toml`.
"""

import marshal
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from zipfile import ZipFile

from edge_probe.budget.installed import on_disk

_PYC_HEADER_BYTES = 16


def installed_bytes(wheels: Iterable[Path]) -> int:
    """Files in whole blocks, with what pip compiles of them (by this Python).

    Parameters
    ----------
    wheels : iterable of Path
    """
    total = 0
    for path in wheels:
        with ZipFile(path) as wheel:
            for entry in wheel.infolist():
                total += on_disk(entry.file_size)
                if entry.filename.endswith(".py"):
                    total += compiled_bytes(wheel.read(entry), entry.filename)
    return total


@cache
def source_bytes(package: Path) -> int:
    """The same of a package that is a folder."""
    total = 0
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            total += on_disk(path.stat().st_size)
            if path.suffix == ".py":
                total += compiled_bytes(path.read_bytes(), str(path))
    return total


def compiled_bytes(source: bytes, name: str) -> int:
    """Of a ``.pyc``; 0 where pip leaves one out too, because it is no Python of this version."""
    try:
        code = compile(source, name, "exec", dont_inherit=True)
    except SyntaxError:
        return 0
    return on_disk(_PYC_HEADER_BYTES + len(marshal.dumps(code)))


if __name__ == "__main__":
    print(f"{installed_bytes(map(Path, sys.argv[1:])) / 2**20:.1f} MiB")  # noqa: T201 - its only output
