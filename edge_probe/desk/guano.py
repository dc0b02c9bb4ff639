"""GUANO, the metadata of bat and bird recordings: ``Key: Value`` lines in a WAV file.

Source: GUANO Metadata Specification 1.0 (https://guano-md.org): a RIFF chunk ``guan`` of UTF-8
lines, or a file of its own beside other kinds of audio.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edge_probe.errors import EdgeProbeError
from edge_probe.source.container import kind_of

NAMESPACE = "EdgeProbe"
"""Before the names of our own fields: ``EdgeProbe|Score``."""

_RIFF_BYTES = 8
"""Of the header of a chunk: its name and the size of what follows."""

_FIRST_CHUNK = 12


def guano_bytes(fields: Mapping[str, object]) -> bytes:
    """The metadata as it stands in a chunk or beside a file.

    Parameters
    ----------
    fields : mapping of a name to its value
        None: not known, no line. A datetime is written with its offset and exactly three decimals:
        readers take the count of characters for a sign that there are any.

    Returns
    -------
    bytes
        Even in number: a chunk needs no padding then, which not every reader skips.
    """
    lines = ["GUANO|Version: 1.0"]
    lines += [f"{name}: {_text(value)}" for name, value in fields.items() if value is not None]
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    return data + b"\n" * (len(data) % 2)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return str(value).replace("\n", "\\n")


def append_chunk(path: Path, data: bytes) -> None:
    """Put metadata behind the samples of a WAV file.

    Parameters
    ----------
    path : Path
        WAV with sizes that are right, and no such chunk yet.
    data : bytes
        As of `guano_bytes`.

    Raises
    ------
    OSError
        The disk fails.
    """
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(bytes(end % 2))  # what was odd before us
        file.write(struct.pack("<4sI", b"guan", len(data)) + data)
        size = file.tell() - _RIFF_BYTES
        file.seek(4)
        file.write(struct.pack("<I", size))


def read_timestamp(path: Path) -> datetime | None:
    """When a WAV file began by its GUANO metadata; naive if they tell no offset; None: no word.

    Raises
    ------
    EdgeProbeError
        It cannot be read, or its metadata are no GUANO.
    """
    from guano import GuanoFile

    data = _chunk(path) if kind_of(path) == "wav" else None
    if data is None:
        return None
    try:
        found = GuanoFile.from_string(data, strict=True).get("Timestamp")
    except ValueError as error:
        raise EdgeProbeError(
            f"{path}: its GUANO metadata cannot be read: {error}",
            hint="say when it began with --start-time",
        ) from error
    return found if isinstance(found, datetime) else None


def _chunk(path: Path) -> bytes | None:
    with path.open("rb") as file:
        file.seek(_FIRST_CHUNK)
        while len(head := file.read(_RIFF_BYTES)) == _RIFF_BYTES:
            name, size = struct.unpack("<4sI", head)
            if name == b"guan":
                return file.read(size)
            if name == bytes(4):  # silence behind a header that was never finished
                return None
            file.seek(size + size % 2, 1)
    return None
