"""The state folder: what lies where, who may write, and how others read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from edge_probe.capture.segment import sync_folder
from edge_probe.errors import StateError

_ATTEMPTS, _WAIT_S = 10, 0.1
"""Whoever looks whether a recorder lives holds the lock for an instant."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths of what a recorder keeps (`SCHEMA.md` says what is in them)."""

    path: Path

    @property
    def audio(self) -> Path:
        """Folder of the segments."""
        return self.path / "audio"

    @property
    def capture(self) -> Path:
        """Database of the capture process."""
        return self.path / "capture.sqlite"

    @property
    def detections(self) -> Path:
        """Database of the classifier process."""
        return self.path / "detections.sqlite"

    @property
    def deployment(self) -> Path:
        """Copy of the deployment file."""
        return self.path / "deployment.toml"

    @property
    def effort(self) -> Path:
        """Effort by UTC hour."""
        return self.path / "effort.csv"

    @property
    def status(self) -> Path:
        """Is it alive."""
        return self.path / "status.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one who writes here; the kernel lets go when the process ends. POSIX only.

        Raises
        ------
        StateError
            There is no such folder, or another process holds the lock.
        OSError
            The disk fails.
        """
        import fcntl  # readers of a state folder may run where there is none

        if not self.path.is_dir():
            raise StateError(f"{self.path}: no such folder", hint="give the recorder's folder")
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for _ in range(_ATTEMPTS):
                with suppress(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                sleep(_WAIT_S)
            else:
                pid = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise StateError(
                    f"{self.path}: process {pid} is writing there",
                    hint="stop that recorder first, or use another folder",
                )
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            yield
        finally:
            os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Give a file new content: readers see the old or the new, and so does a power cut.

    Raises
    ------
    OSError
        The disk fails; the old content is still there.
    """
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)
