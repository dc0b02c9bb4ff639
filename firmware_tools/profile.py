"""Boards that a bundle can be meant for, from the TOML files beside this module."""

import math
import tomllib
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from edge_probe.disk.plan import Span
from edge_probe.errors import EdgeProbeError

FOLDER = Path(__file__).with_name("profiles")
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What there is to know about a board before it is touched."""

    key: str
    """As it is asked for: ``pi-zero-2w``."""
    name: str
    architecture: str
    """As ``uname -m`` tells it."""
    core: str
    features: tuple[str, ...]
    """Of the processor, as ``/proc/cpuinfo`` names them; what kernels choose by."""
    cores: int
    clock_ghz: Span
    ram_mib: int
    """As sold."""
    system_mib: Span
    """Of it, what firmware, kernel and system keep."""
    card_gb: float
    system_gb: Span
    """Of the card, what the system takes."""
    power_w: float | None
    """Typical, without microphone; None: unknown."""
    float_macs: Span
    """Most in a cycle of one core, float32."""
    integer_macs: Span
    """Most in a cycle of one core, 8 bits."""
    bit_macs: Span
    """In a cycle of one core, by the kernels of the head, for one bit."""
    memory_gb_s: Span
    """One core."""
    python_slowdown: Span
    """Against the machine of `runtime.toml`."""


def names() -> list[str]:
    """Profiles there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != REFUSED)


@cache
def load_profile(key: str) -> DeviceProfile:
    """The profile of that name.

    Raises
    ------
    EdgeProbeError
        There is none, or it is a board that cannot run this.
    """
    wanted = key.strip().lower().replace("_", "-").replace(" ", "-")
    refused = _read(FOLDER / f"{REFUSED}.toml")
    if wanted in refused["boards"]:
        raise EdgeProbeError(
            f"{key}: {refused['boards'][wanted]}: a 32-bit processor; {refused['reason']}",
            hint=f"boards that can: {', '.join(names())}",
        )
    if wanted not in names():
        raise EdgeProbeError(f"{key}: no such profile", hint=f"there are: {', '.join(names())}")
    return parse_profile(wanted, _read(FOLDER / f"{wanted}.toml"))


def with_card(profile: DeviceProfile, card_gb: float) -> DeviceProfile:
    """The same board with another card.

    Raises
    ------
    EdgeProbeError
        No such card holds a system.
    """
    if not profile.system_gb.high < card_gb < math.inf:
        raise EdgeProbeError(
            f"a card of {card_gb:g} GB: expected more than the {profile.system_gb.high:g} GB that"
            " the system may take",
            hint="--card takes decimal GB, as on the label",
        )
    return replace(profile, card_gb=card_gb)


def parse_profile(key: str, table: dict[str, Any]) -> DeviceProfile:
    """Check a table key by key.

    Raises
    ------
    EdgeProbeError
        A key is missing or unknown, or its value cannot be meant.
    """
    hints = get_type_hints(DeviceProfile)
    wanted = [field.name for field in fields(DeviceProfile) if field.name != "key"]
    optional = {name for name in wanted if type(None) in get_args(hints[name])}
    missing, unknown = set(wanted) - set(table) - optional, set(table) - set(wanted)
    if missing or unknown:
        raise EdgeProbeError(
            f"profile {key}: keys missing: {sorted(missing)}, unknown: {sorted(unknown)}",
            hint="firmware_tools/profiles has examples",
        )
    values = {name: _value(key, name, hints[name], table.get(name)) for name in wanted}
    return DeviceProfile(key=key, **values)


def _value(key: str, name: str, hint: Any, value: Any) -> Any:
    """Of the type that the profile wants."""
    plain = get_args(hint) if value is None else (hint,)
    if hint is Span and isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        low, high = map(float, value)
        if 0 < low <= high < math.inf:
            return Span(low, high)
    elif get_origin(hint) is tuple and isinstance(value, list):
        return tuple(map(str, value))
    elif float in (hint, *get_args(hint)) and _is_number(value):
        return float(value)
    elif type(value) in plain:
        return value
    raise EdgeProbeError(
        f"profile {key}: {name}: {value!r} cannot be meant",
        hint="firmware_tools/profiles has examples",
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
