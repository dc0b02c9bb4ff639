"""Deployments of an archive, some of them open at once."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from edge_probe.desk.archive import Deployment

MAX_OPEN = 32
"""Deployments: each has two databases open."""


class Opened:
    """Opens deployments as they are asked for, and closes them when there are too many."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._open: dict[Path, Deployment] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, folder: Path) -> Deployment:
        """Open it, if it is not."""
        if folder not in self._open:
            if len(self._open) == MAX_OPEN:
                self._stack.close()
                self._open.clear()
            self._open[folder] = self._stack.enter_context(Deployment(folder))
        return self._open[folder]
