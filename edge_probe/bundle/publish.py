"""A directory that appears under its name whole and durable, or not at all."""

import os
import secrets
import shutil
from pathlib import Path

from edge_probe.errors import BundleError


def new_directory(target: Path) -> Path:
    """An empty directory with a hidden name beside the target.

    Raises
    ------
    BundleError
        It cannot be made there.
    """
    staging = hidden_name(target, "new")
    try:
        staging.mkdir()
    except OSError as error:
        raise BundleError(
            f"{target}: no directory can be made beside it: {error.strerror}",
            hint="look at free space and permissions, or name another directory",
        ) from error
    return staging


def hidden_name(target: Path, suffix: str) -> Path:
    """A name beside the target that nothing else has."""
    return target.parent / f".{target.name}.{secrets.token_hex(4)}.{suffix}"


def publish(staging: Path, target: Path) -> None:
    """Make a new directory durable, then let it take its name, in place of one that has it.

    Raises
    ------
    OSError
        What stood there before stands there again.
    """
    for path in staging.iterdir():
        sync(path)
    sync(staging)
    old = hidden_name(target, "old")
    had_one = target.exists()
    if had_one:
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        if had_one:
            old.rename(target)
        raise
    sync(target.parent)
    if had_one:
        shutil.rmtree(old)


def publish_file(target: Path, data: bytes) -> None:
    """Replace a file, or make it: after a power cut there is the old content or the new.

    Raises
    ------
    OSError
        The old content is untouched.
    """
    part = hidden_name(target, "new")
    try:
        part.write_bytes(data)
        sync(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)


def sync(path: Path) -> None:
    """Let a file or directory reach the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no way to flush a directory
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
