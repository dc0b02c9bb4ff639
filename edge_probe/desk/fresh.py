"""Files and folders that appear under their name whole or not at all, and replace nothing."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_probe.bundle.publish import hidden_name, sync
from edge_probe.errors import EdgeProbeError


@contextmanager
def fresh_file(target: Path) -> Iterator[Path]:
    """A name to write to, which becomes the target if nothing fails.

    Raises
    ------
    EdgeProbeError
        Something of that name is there already, or the folder that it is to lie in is not.
    OSError
        The folder cannot be written.
    """
    refuse_existing(target)
    part = hidden_name(target, "new")
    try:
        with _named(target, part):
            yield part
            sync(part)
            refuse_existing(target)  # it may have come meanwhile
            part.rename(target)
            sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """An empty folder to write into, which becomes the target if nothing fails.

    Raises
    ------
    EdgeProbeError
        Something of that name is there already, or the folder that it is to lie in is not.
    OSError
        The folder cannot be written.
    """
    refuse_existing(target)
    part = hidden_name(target, "new")
    try:
        with _named(target, part):
            part.mkdir()
            yield part
            for folder, _, names in os.walk(part):
                for name in (*names, ""):
                    sync(Path(folder, name))
            refuse_existing(target)
            part.rename(target)
            sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # after the rename there is none


@contextmanager
def _named(target: Path, part: Path) -> Iterator[None]:
    """Let errors name what was asked for; a full disk has no name, and only we write."""
    try:
        yield
    except OSError as error:
        where = error.filename
        is_full = where is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if is_full or (where is not None and Path(where).is_relative_to(part)):
            error.filename = str(target)
        raise


def refuse_existing(target: Path) -> None:
    """Nothing that exists is written over, and no folder is made for what may be mistyped.

    Raises
    ------
    EdgeProbeError
    """
    if not target.parent.is_dir():
        raise EdgeProbeError(f"{target.parent}: no such folder", hint="make it, or name another")
    if target.exists() or target.is_symlink():
        raise EdgeProbeError(f"{target}: exists already", hint="name another output, or move it")
