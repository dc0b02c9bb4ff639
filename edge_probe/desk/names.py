"""Names of recordings: those we give, and when a recording began by the name others gave it.

Ours are ``PREFIX_YYYYMMDD_HHMMSS`` in one fixed offset from UTC all year, as those of AudioMoth and
Song Meter: no hour comes twice, and the programs that read theirs read ours.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from edge_probe.errors import EdgeProbeError

YEARS = range(1900, 2200)
"""In which recordings begin; in others a clock or digits mean something else."""

MAX_NAME_BYTES = 150
"""Of a part of a name, in UTF-8; ext4 takes 255 of a whole one, FAT 255 UTF-16 units."""

_NOT_IN_FAT = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]|[^\x00-\uffff]')
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE)


def fat_safe(text: str) -> str:
    """A text as a name that FAT, NTFS and ext4 take: never empty, at most `MAX_NAME_BYTES`.

    Letters of any script stay; what is not allowed becomes ``-``. Different texts may get one name.

    Source: Microsoft, "Naming Files, Paths, and Namespaces".
    """
    whole = _NOT_IN_FAT.sub("-", normalize("NFC", text)).strip(" ")
    clean = whole.encode("utf-8")[:MAX_NAME_BYTES].decode("utf-8", "ignore").rstrip(". ")
    return f"_{clean}" if not clean or _DEVICES.fullmatch(clean) else clean


class Names:
    """Names of one folder, each once, whatever the case of its letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """The name, with ``-2``, ``-3``, ... behind it if it was taken before."""
        for free in self._tries(name):
            if (key := normalize("NFC", free).casefold()) not in self._taken:
                self._taken.add(key)
                return free
        raise AssertionError  # the tries have no end

    @staticmethod
    def _tries(name: str) -> Iterator[str]:
        yield name
        yield from (f"{name}-{n}" for n in count(2))


def stem(prefix: str, moment: datetime, offset: timedelta | None) -> str:
    """``PREFIX_YYYYMMDD_HHMMSS``, the second rounded down.

    Parameters
    ----------
    prefix : str
    moment : datetime
        Aware.
    offset : timedelta or None
        Of the deployment's time from UTC; None: UTC.
    """
    local = moment.astimezone(timezone(offset or timedelta(0)))
    return f"{fat_safe(prefix)}_{local:%Y%m%d_%H%M%S}"


class Named(NamedTuple):
    """What a name says."""

    prefix: str
    """Of the recorder or place; empty: the name has none."""
    time: datetime
    """Of the first sample: naive, by a clock whose offset from UTC the name does not tell, or
    aware."""


_CHANNELS = re.compile(r"_[01-]\+[01-]$")
"""Behind the prefix of a Song Meter SM3: the channels it recorded."""

_DATE_TIME = r"(?P<date>[0-9]{8})[_$](?P<time>[0-9]{6})"
_PATTERNS = (
    # ours: the time is UTC
    re.compile(
        r"(?P<prefix>[0-9]{5,}-[0-9]{6,}-[0-9]{12,})_(?P<date>[0-9]{8})T(?P<time>[0-9]{6})(?P<utc>Z)"
    ),
    # old AudioMoths: seconds since 1970, of 2012 to 2038
    re.compile(r"(?P<hex>[5-7][0-9A-F]{7})"),
    # AudioMoth (T: triggered), with or without an id; Song Meter, $: clock set by GPS;
    # BTO: anything behind a hyphen
    re.compile(rf"(?:(?P<prefix>.+)_)?{_DATE_TIME}T?(?:-.*)?"),
)


def parse_name(name: str) -> Named | None:
    """What the name of a recording says, with or without its suffix; None: nothing.

    Sources: AudioMoth-Firmware-Basic, ``generateFolderAndFilename``; Song Meter SM3, SM4 and Mini
    user guides; BTO Acoustic Pipeline, ``PREFIX_YYYYMMDD_HHMMSS-SUFFIX``.
    """
    stem_ = re.sub(r"\.(?:wave?|w64|flac|og[ga]|w4v|wac)$", "", name, flags=re.IGNORECASE)
    for pattern in _PATTERNS:
        if (match := pattern.fullmatch(stem_)) is None:
            continue
        found = match.groupdict()
        if found.get("hex"):
            return Named("", datetime.fromtimestamp(int(found["hex"], 16), UTC))
        try:
            time = datetime.strptime(found["date"] + found["time"], "%Y%m%d%H%M%S")
        except ValueError:  # digits that are no date
            return None
        if time.year not in YEARS:
            return None
        prefix = _CHANNELS.sub("", found["prefix"] or "")
        return Named(prefix, time.replace(tzinfo=UTC) if "utc" in found else time)
    return None


class UnknownOffsetError(EdgeProbeError):
    """A recording tells when it began by a clock, and nobody tells which clock that was."""


def began(path: Path, utc_offset: timedelta | None) -> datetime:
    """When somebody's recording began: by its GUANO metadata, else by its name.

    Parameters
    ----------
    path : Path
        An audio file.
    utc_offset : timedelta or None
        Of the clock that it was named by; what the recording itself says goes before it.

    Returns
    -------
    datetime
        Aware.

    Raises
    ------
    EdgeProbeError
        Neither says it, or the offset is needed and was not given.
    """
    time = told_start(path, utc_offset)
    if time is None:
        raise EdgeProbeError(
            f"{path}: expected GUANO metadata or a name with YYYYMMDD_HHMMSS, found neither",
            hint="say when it began with --start-time",
        )
    return time


def told_start(path: Path, utc_offset: timedelta | None) -> datetime | None:
    """As `began`, and None where neither metadata nor name say it.

    Raises
    ------
    UnknownOffsetError
        The offset is needed and was not given.
    EdgeProbeError
        The metadata cannot be read.
    """
    from edge_probe.desk.guano import read_timestamp

    told, named = read_timestamp(path), parse_name(path.name)
    time = told or (named and named.time)
    if time is not None and time.year not in YEARS:
        raise EdgeProbeError(
            f"{path}: its metadata tell that it began in the year {time.year}, expected one from"
            f" {YEARS[0]} to {YEARS[-1]}",
            hint="say when it began with --start-time",
        )
    if time is not None and time.tzinfo is None:
        if utc_offset is None:
            raise UnknownOffsetError(
                f"{path}: began {time:%Y-%m-%d %H:%M:%S} by a clock whose offset from UTC it does"
                " not tell",
                hint="say which with --utc-offset, such as --utc-offset +01:00, as the recorder"
                " was set",
            )
        time = time.replace(tzinfo=timezone(utc_offset))
    return time
