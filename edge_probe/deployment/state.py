"""The state folder: what lies where."""

import os
from dataclasses import dataclass
from pathlib import Path

from edge_probe.capture.segment import sync_folder


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
