"""What `amixer scontents` prints, as controls.

The format has no specification; source of what is read here: the program's own output (alsa-utils
1.0 to 1.2) for USB microphones, USB interfaces and codecs on I2S.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HEAD = re.compile(r"Simple mixer control '(.*)',(\d+)")
_FIELD = re.compile(r"  ([\w ]+?): ?(.*)")
_VOLUME = re.compile(r"(?:Capture )?(-?\d+) \[(\d+)%\](?: \[(-?[\d.]+)dB\])?")
_SWITCH = re.compile(r"\[(on|off)\]")
_ITEM = re.compile(r"'([^']*)'")
_KEEPS_GAIN = re.compile(r"auto(matic)? gain|\bagc\b|\balc\b", re.I)
_OFF = ("off", "disabled", "disable", "none")


@dataclass(frozen=True, slots=True)
class Level:
    """Gain of one channel of a control."""

    channel: str
    """``Mono``, ``Front Left``."""
    percent: int
    """Of the range of the control."""
    db: float | None
    """None where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a mixer."""

    name: str
    index: int
    levels: Sequence[Level]
    """Capture gain by channel; empty for anything else."""
    capturing: bool | None
    """Whether its capture switch is on for all channels; None without one."""
    state: str | None
    """``on``, ``off`` or the chosen item, of a plain switch or choice."""
    off: str | None
    """The state in which it does nothing, if it has one."""

    @property
    def label(self) -> str:
        """For people and rows: ``Mic,0``."""
        return f"{self.name},{self.index}"

    @property
    def selector(self) -> str:
        """What names it for amixer."""
        return f"'{self.name}',{self.index}"

    @property
    def is_agc(self) -> bool:
        """Whether it switches an automatic gain (AGC, ALC) on and off."""
        return self.off is not None and _KEEPS_GAIN.search(self.name) is not None

    @property
    def is_on(self) -> bool:
        """Whether a switch or choice does something."""
        return self.state != self.off


def parse(text: str) -> Sequence[Control]:
    """The controls of a card.

    Parameters
    ----------
    text : str
        Output of ``amixer scontents``; lines that are not known are passed over.
    """
    blocks: list[tuple[str, int, list[tuple[str, str]]]] = []
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line.rstrip()):
            blocks.append((head[1], int(head[2]), []))
        elif blocks and (field := _FIELD.fullmatch(line.rstrip())):
            blocks[-1][2].append((field[1], field[2]))
    return [_control(name, index, fields) for name, index, fields in blocks]


def _control(name: str, index: int, fields: Sequence[tuple[str, str]]) -> Control:
    described = dict(fields)
    can = set(described.get("Capabilities", "").split())
    channels = [
        (field, value) for field, value in fields
        if value and field not in
        ("Capabilities", "Playback channels", "Capture channels", "Limits", "Items", "Item0")
    ]  # fmt: skip
    captures = "Capture channels" in described
    # A volume of both directions is told once, others behind the word of their direction.
    told = [
        (channel, value if "volume" in can else _behind("Capture", value))
        for channel, value in channels
    ]
    levels = [
        Level(channel, int(volume[2]), float(volume[3]) if volume[3] else None)
        for channel, value in told
        if captures and can & {"cvolume", "volume"} and (volume := _VOLUME.search(value))
    ]
    switches = [found for _, value in told for found in _SWITCH.findall(value)]
    capturing = all(found == "on" for found in switches) if "cswitch" in can and switches else None
    return Control(name, index, levels, capturing, *_state(described, can, channels))


def _behind(word: str, value: str) -> str:
    return value.partition(f"{word} ")[2]


def _state(
    described: dict[str, str], can: set[str], channels: Sequence[tuple[str, str]]
) -> tuple[str | None, str | None]:
    """State now, and the one that is off."""
    if can & {"enum", "cenum", "penum"}:
        chosen = _ITEM.search(described.get("Item0", ""))
        items = _ITEM.findall(described.get("Items", ""))
        off = next((item for item in items if item.lower() in _OFF), None)
        return chosen and chosen[1], off
    found = [state for _, value in channels for state in _SWITCH.findall(value)]
    if not found or can & {"pvolume", "cvolume", "volume"}:
        return None, None
    return ("on" if "on" in found else "off"), "off"
