"""The deployment file: who recorded, where and with what."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from re import fullmatch
from types import MappingProxyType
from typing import Any, Literal, overload

from edge_probe.database import put_aside
from edge_probe.deployment.state import StateFolder, replace_file
from edge_probe.deployment.toml_file import parse_toml, refuse_unknown
from edge_probe.errors import DeploymentError
from edge_probe.schedule.calendar import schedule_of
from edge_probe.schedule.table import Table, parse_table

_log = logging.getLogger(__name__)

Scalar = str | int | float | bool

_Number = Literal[
    "latitude", "longitude", "coordinate_uncertainty_m", "capture_gain_db", "height_m"
]
_Text = Literal["recorder_serial", "microphone", "habitat", "setup_by"]

MAX_TEXT = 1000
"""Characters of a text."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment file says; None where it says nothing."""

    deployment_id: str
    """Names this deployment everywhere; also part of file names."""
    latitude: float | None = None
    """Degrees north, WGS 84."""
    longitude: float | None = None
    """Degrees east, WGS 84."""
    coordinate_uncertainty_m: float | None = None
    """Radius of the circle that holds the true place."""
    utc_offset: timedelta | None = None
    """Of the local time that people want to read: one value all year, no summer time."""
    recorder_serial: str | None = None
    microphone: str | None = None
    """Identity of the sound card: USB vendor:product:serial or port, or its name."""
    capture_gain_db: float | None = None
    """Gain to be set at every opening."""
    height_m: float | None = None
    """Of the microphone above the ground."""
    habitat: str | None = None
    setup_by: str | None = None
    schedule: Table | None = None
    """Table ``[schedule]``: when to record; None: always."""
    project: Mapping[str, Scalar] = field(default_factory=lambda: MappingProxyType({}))
    """Table ``[project]``: whatever else the project wants to keep with its data."""

    @overload
    def require(self, key: _Number, *, because: str) -> float: ...
    @overload
    def require(self, key: _Text, *, because: str) -> str: ...
    @overload
    def require(self, key: Literal["utc_offset"], *, because: str) -> timedelta: ...
    def require(self, key: str, *, because: str) -> object:
        """The value of a key that is needed now.

        Parameters
        ----------
        key : str
        because : str
            What needs it, for the message.

        Raises
        ------
        DeploymentError
            The file does not have it.
        """
        value = getattr(self, key)
        if value is None:
            raise DeploymentError(
                f"deployment.toml: {key} is missing; {because}",
                hint=f"add a line {key} = ... and start again with this file",
            )
        return value


def read_settings(path: Path) -> Settings:
    """Read and check a deployment file.

    Parameters
    ----------
    path : Path
        TOML, UTF-8; a byte order mark and CRLF are accepted.

    Raises
    ------
    DeploymentError
        It does not exist, is no TOML, or a key or value is not what is expected.
    """
    return parse_settings(_bytes(path), str(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DeploymentError(
            f"{path}: no such file", hint='write one; the least is deployment_id = "NAME"'
        ) from None


def parse_settings(data: bytes, where: str) -> Settings:
    """Check the content of a deployment file; ``where`` is its name for messages.

    Raises
    ------
    DeploymentError
    """
    found = parse_toml(data, where)
    known = [item.name for item in fields(Settings)]
    refuse_unknown(found, known, where, "own keys belong under [project]")
    if "deployment_id" not in found:
        raise DeploymentError(
            f"{where}: deployment_id is missing", hint='add a line deployment_id = "NAME"'
        )
    settings = Settings(**{key: _CHECKS[key](f"{where}: {key}", found[key]) for key in found})
    schedule_of(settings)  # it needs some of the other keys
    return settings


def adopted_id(state: StateFolder) -> str:
    """Deployment of a state folder; empty where it was given none.

    Raises
    ------
    DeploymentError
        The copy is not valid.
    """
    return read_settings(state.deployment).deployment_id if state.deployment.exists() else ""


def adopt(source: Path, state: StateFolder) -> Settings:
    """Read a deployment file and keep a copy, byte for byte, in the state folder.

    A file of the same deployment replaces the copy and what changed is logged; one of another
    deployment is refused: a state folder belongs to one.

    Nothing that became of the copy on the card keeps a recorder from starting: one that is not
    valid is put aside.

    Raises
    ------
    DeploymentError
        The file is not valid, or the copy is of another deployment.
    OSError
        The disk fails; the old copy is still there.
    """
    data = _bytes(source)
    settings = parse_settings(data, str(source))
    if state.deployment.exists() and state.deployment.read_bytes() == data:
        return settings
    if kept := _kept(state):
        if kept.deployment_id != settings.deployment_id:
            raise DeploymentError(
                f"{source}: expected deployment_id {kept.deployment_id}, to which {state.path} "
                f"belongs, found {settings.deployment_id}",
                hint="give every deployment a state folder of its own",
            )
        for change in changes(kept, settings):
            _log.warning("%s: %s", state.deployment, change)
    replace_file(state.deployment, data)
    return settings


def _kept(state: StateFolder) -> Settings | None:
    """What the copy says; None if there is none, or none that can be read any more."""
    if not state.deployment.exists():
        return None
    try:
        return read_settings(state.deployment)
    except DeploymentError as error:
        aside = put_aside(state.deployment)
        _log.error("%s; kept as %s", error.message, aside.name)
        return None


def changes(old: Settings, new: Settings) -> list[str]:
    """What differs, one line for each key."""
    return [
        f"{item.name} was {_shown(getattr(old, item.name))}, is {_shown(getattr(new, item.name))}"
        for item in fields(Settings)
        if getattr(old, item.name) != getattr(new, item.name)
    ]


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return str(dict(value))
    return "missing" if value is None else str(value)


def _wrong(name: str, wanted: str, found: object, hint: str | None = None) -> DeploymentError:
    return DeploymentError(f"{name}: expected {wanted}, found {found!r}", hint=hint)


def _text(name: str, value: object) -> str:
    clean = isinstance(value, str) and value == value.strip() and value.isprintable()
    if not (clean and isinstance(value, str) and 0 < len(value) <= MAX_TEXT):
        raise _wrong(
            name, f'"text" of 1 to {MAX_TEXT} printable characters without outer blanks', value
        )
    return value


def _identity(name: str, value: object) -> str:
    text = _text(name, value)
    if len(text) > 64 or not fullmatch(r"[\w.-]+", text) or text.startswith("."):
        raise _wrong(
            name, "at most 64 letters, digits and . _ -", text, "it becomes part of file names"
        )
    return text


class _Range:
    """A number within bounds."""

    def __init__(self, low: float, high: float, unit: str) -> None:
        self._low, self._high, self._unit = low, high, unit

    def __call__(self, name: str, value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and isinstance(value, int | float) and math.isfinite(value)):
            raise _wrong(name, "a number", value, "without quotes, with a decimal point")
        if not self._low <= value <= self._high:
            raise _wrong(name, f"{self._low:g} to {self._high:g} {self._unit}", value)
        return float(value)


def _utc_offset(name: str, value: object) -> timedelta:
    match = isinstance(value, str) and fullmatch(r"([+-])(\d\d):(\d\d)", value)
    if match:
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        if int(minutes) < 60 and timedelta(hours=-12) <= offset <= timedelta(hours=14):
            return offset
    raise _wrong(
        name,
        'text such as "+01:00", from "-12:00" to "+14:00"',
        value,
        "one offset for the whole deployment: there is no summer time in the records",
    )


def _project(name: str, value: object) -> Mapping[str, Scalar]:
    if not isinstance(value, dict):
        raise _wrong(name, "a table", value, "write [project] and its keys below it")
    for key, item in value.items():
        _text(f"{name}: a key", key)
        if not isinstance(item, Scalar) or (isinstance(item, float) and not math.isfinite(item)):
            raise _wrong(f"{name}.{key}", "text, a number, true or false", item)
        if isinstance(item, str):
            _text(f"{name}.{key}", item)
    return MappingProxyType(value)


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "deployment_id": _identity,
    "latitude": _Range(-90, 90, "degrees"),
    "longitude": _Range(-180, 180, "degrees"),
    "coordinate_uncertainty_m": _Range(0, 1e7, "m"),
    "utc_offset": _utc_offset,
    "recorder_serial": _text,
    "microphone": _text,
    "capture_gain_db": _Range(-200, 200, "dB"),
    "height_m": _Range(-11_000, 9_000, "m"),
    "habitat": _text,
    "setup_by": _text,
    "schedule": parse_table,
    "project": _project,
}
