"""Which microphone is which: what stays the same when cards are numbered anew.

ALSA numbers cards in the order in which they appear, so a number means another microphone after a
boot. What stays is USB vendor, product, serial and port, or the card's name. Linux only.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_probe.errors import DeviceError

_CARD = re.compile(r"^ *(\d+) \[(.+?) *\]: .*? - (.*)$", re.MULTILINE)
"""``/proc/asound/cards``: `` 1 [Device         ]: USB-Audio - USB PnP Sound Device``."""

_USB = re.compile(r"usb:([0-9a-f]{4}):([0-9a-f]{4})(?::(.+?))?(?:@(\d+-\d+(?:\.\d+)*))?", re.I)
_HW = re.compile(r"\(hw:(\d+),(\d+)\)")
_NUMBER = re.compile(r"(?:plug)?(?:hw:)?\d+(?:,\d+)?")


@dataclass(frozen=True, slots=True)
class Card:
    """A sound card as ALSA and the kernel describe it."""

    number: int
    """Of this moment; never kept."""
    id: str
    """ALSA's short name; that of a twin has a number behind it."""
    name: str
    vendor: str | None
    """USB vendor, 4 hexadecimal digits; None for a card that is not on USB."""
    product: str | None
    serial: str | None
    """Many microphones have none."""
    port: str | None
    """Where it is plugged in: ``1-1.3`` is port 3 of the hub in port 1 of bus 1."""

    @property
    def identity(self) -> str:
        """``usb:VENDOR:PRODUCT[:SERIAL][@PORT]`` or ``card:NAME``: what `match` understands."""
        if self.vendor is None:
            return f"card:{self.name}"
        serial = f":{self.serial}" if self.serial else ""
        port = f"@{self.port}" if self.port else ""
        return f"usb:{self.vendor}:{self.product}{serial}{port}"


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone that PortAudio offers."""

    index: int
    """PortAudio's, of this moment; never kept."""
    name: str
    """PortAudio's."""
    pcm: int
    """Number of the device on its card."""
    card: Card | None
    """None for what is no card: a sound server or a name in ``asound.conf``."""

    @property
    def identity(self) -> str:
        """The card's, or else the name."""
        return self.card.identity if self.card else self.name


def cards(root: Path = Path("/")) -> Mapping[int, Card]:
    """The sound cards of this machine, by number.

    Parameters
    ----------
    root : Path
        Folder that holds ``proc`` and ``sys``.
    """
    listed = _read(root / "proc/asound/cards")
    return {
        int(number): _card(root, int(number), id_, name.strip())
        for number, id_, name in _CARD.findall(listed)
    }


def _card(root: Path, number: int, id_: str, name: str) -> Card:
    usb = _read(root / f"proc/asound/card{number}/usbid").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", usb):
        return Card(number, id_, name, None, None, None, None)
    vendor, product = usb.split(":")
    # The link leads to an interface of the USB device; the folder above it is the device.
    device = (root / f"sys/class/sound/card{number}/device").resolve().parent
    on_usb = re.fullmatch(r"\d+-\d+(\.\d+)*", device.name)
    serial = _read(device / "serial").strip() if on_usb else ""
    return Card(number, id_, name, vendor, product, serial or None, device.name if on_usb else None)


def _read(path: Path) -> str:
    """A file of the kernel; one that is not there, or goes while it is read, is empty."""
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def devices(listed: Iterable[tuple[int, str]], root: Path = Path("/")) -> Sequence[Device]:
    """What PortAudio lists, each with its card.

    Parameters
    ----------
    listed : iterable of (index, name)
        Microphones as PortAudio numbers and names them: ``USB Audio: - (hw:1,0)``.
    root : Path
        Folder that holds ``proc`` and ``sys``.
    """
    known = cards(root)
    found = []
    for index, name in listed:
        hw = _HW.search(name)
        card = known.get(int(hw[1])) if hw else None
        found.append(Device(index, name, int(hw[2]) if hw else 0, card))
    return found


def match(wanted: str, among: Sequence[Device]) -> Device:
    """The one microphone that is meant.

    Parameters
    ----------
    wanted : str
        ``usb:VENDOR:PRODUCT``, with ``:SERIAL`` or ``@PORT`` or both where there are twins;
        ``card:NAME`` with ALSA's name or short name of the card; or PortAudio's name of a device
        that is no card. Of several devices on one card it is the first.
    among : sequence of Device

    Raises
    ------
    DeviceError
        None, several, or what `refuse_unstable` refuses.
    """
    listed = [device.identity for device in among]
    refuse_unstable(wanted, listed)
    found = [device for device in among if _is(wanted, device, among)]
    if len({device.card.number if device.card else ~device.index for device in found}) == 1:
        return min(found, key=lambda device: device.pcm)
    problem = f"{len(found)} microphones match" if found else "no such microphone"
    raise DeviceError(f"microphone {wanted!r}: {problem}", hint=_here(listed))


def _here(identities: Iterable[str]) -> str:
    return "microphones here: " + ("; ".join(f'"{one}"' for one in identities) or "none")


def refuse_unstable(wanted: str, identities: Iterable[str]) -> None:
    """See that a text can mean one microphone for months, whether that is there now or not.

    Parameters
    ----------
    wanted : str
        As for `match`.
    identities : iterable of str
        Of what is there, for the hint.

    Raises
    ------
    DeviceError
        It is empty, a number, which would mean another microphone after a boot, or no USB name.
    """
    if not wanted.strip() or _NUMBER.fullmatch(wanted.strip()):
        raise DeviceError(
            f"microphone {wanted!r}: expected a name; a number changes with each boot",
            hint=_here(identities),
        )
    if wanted.startswith("usb:") and not _USB.fullmatch(wanted):
        raise DeviceError(
            f"microphone {wanted!r}: expected usb:VENDOR:PRODUCT in hexadecimal digits, with"
            " :SERIAL or @PORT where there are twins",
            hint=_here(identities),
        )


def _is(wanted: str, device: Device, among: Sequence[Device]) -> bool:
    card = device.card
    if usb := _USB.fullmatch(wanted):
        vendor, product, serial, port = usb.groups()
        return (
            card is not None
            and (card.vendor, card.product) == (vendor.lower(), product.lower())
            and serial in (None, card.serial)
            and port in (None, card.port)
        )
    if wanted.startswith("card:"):
        return card is not None and card.name in _names_of(wanted.removeprefix("card:"), among)
    return card is None and device.name == wanted


def _names_of(text: str, among: Sequence[Device]) -> set[str]:
    """Names of the cards that are called so.

    A short name stands for its card's name: twins get ``Device`` and ``Device_1`` in the order in
    which they appear, so it would tell them apart wrongly.
    """
    return {d.card.name for d in among if d.card and text in (d.card.id, d.card.name)}


def refuse_other(device: Device, root: Path = Path("/")) -> None:
    """See that the card of an open device is still the one that was chosen, and is the open one.

    To be called when the device was opened: cards may have been numbered anew in between, and a
    sound server may have taken another one.

    Parameters
    ----------
    device : Device
        As `match` gave it.
    root : Path
        Folder that holds ``proc`` and ``sys``.

    Raises
    ------
    DeviceError
        It is another microphone.
    """
    if device.card is None:
        return
    card = cards(root).get(device.card.number)
    if card is None or card.identity != device.card.identity:
        found = f"is now {card.identity}" if card else "is gone"
        raise DeviceError(
            f"{device.identity}: was opened as card {device.card.number}, which {found}",
            hint="plug it in again; it is opened anew",
        )
