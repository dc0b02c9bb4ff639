"""``survey.json``: what a folder of results is about. Work with other settings is refused there."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from edge_probe import __version__
from edge_probe.bundle.publish import publish_file
from edge_probe.desk.survey.listing import Extent
from edge_probe.errors import StateError

NAME = "survey.json"

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings and list of files that all results of a folder come from."""

    folder: str
    """Of the recordings, by its absolute path; it may lie elsewhere another time."""
    bundle: str
    """Id."""
    bundle_sha256: str
    profile: str
    channel: int | None
    utc_offset_s: int | None
    n_files: int
    n_bytes: int
    n_batches: int
    files_sha256: str
    shard: int
    """Counted from 1."""
    n_shards: int
    edge_probe: str = __version__

    @property
    def extent(self) -> Extent:
        """Of the list of files."""
        return Extent(self.n_files, self.n_bytes, self.n_batches, self.files_sha256)

    def batches(self) -> range:
        """Numbers of the batches of this shard."""
        return range(self.shard - 1, self.n_batches, self.n_shards)

    def whole(self) -> Self:
        """The same without shards."""
        return replace(self, shard=1, n_shards=1)

    def difference(self, other: Self) -> str | None:
        """The first thing in which they differ, the folder apart; None: they are the same."""
        mine, others = asdict(replace(self, folder="")), asdict(replace(other, folder=""))
        for key, value in mine.items():
            if value != others[key]:
                return f"expected {key} {json.dumps(value)}, found {json.dumps(others[key])}"
        return None

    def write(self, out: Path) -> None:
        """Keep it in a folder of results, in place of what is there."""
        text = json.dumps({"version": _VERSION, **asdict(self)}, indent=2)
        publish_file(out / NAME, f"{text}\n".encode())

    @classmethod
    def read(cls, out: Path) -> Self:
        """Of a folder of results.

        Raises
        ------
        StateError
            There is none, or it is not one that this version can read.
        """
        path = out / NAME
        try:
            cells: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version = cells.pop("version")
            plan = cls(**cells)
        except FileNotFoundError as error:
            raise StateError(
                f"{path}: no such file", hint="name a folder that edge-probe classify DIR made"
            ) from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise StateError(f"{path}: is not what edge-probe wrote there: {error}") from error
        if version != _VERSION:
            raise StateError(
                f"{path}: expected version {_VERSION}, found {version!r}",
                hint="it was made by another edge-probe: install that one",
            )
        return plan


def is_survey(folder: Path) -> bool:
    """Whether it is a folder of results."""
    return (folder / NAME).is_file()
