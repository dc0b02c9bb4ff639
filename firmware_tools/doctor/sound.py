"""The microphone, without opening it: the recorder may hold it, or be about to.

Which cards there are, what they can and how they run stands in /proc/asound; the gain is asked of
``amixer``, which opens the card's mixer and not its sound.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_probe.errors import DeviceError
from edge_probe.health.controls import Control, parse
from edge_probe.health.identity import Device, devices, match
from edge_probe.health.tool import ask
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.doctor.program import need_numpy
from firmware_tools.doctor.settings import look_deployment, look_orders

if TYPE_CHECKING:
    from edge_probe.health.mixer import Opened

_PCM = re.compile(r"^(\d+)-(\d+): (.*?) *:.*capture \d+", re.MULTILINE)
"""``/proc/asound/pcm``: ``01-00: USB Audio : USB Audio : capture 1``."""

_RATES = re.compile(r"^ *Rates: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SoundFacts:
    """The microphones that are plugged in, and the one that is meant."""

    present: Sequence[Device]
    wanted: str | None
    """As settings or deployment name it."""


def look_sound(host: Host) -> SoundFacts:
    """List the devices that can record."""
    deployment = look_deployment(host)
    wanted = look_orders(host).device or (deployment.microphone if deployment else None)
    pcms = host.read_if_there("proc/asound/pcm") or ""  # there is none without a sound driver
    listed = [
        (index, f"{name} (hw:{int(card)},{int(pcm)})")
        for index, (card, pcm, name) in enumerate(_PCM.findall(pcms))
    ]
    return SoundFacts(devices(listed, host.layout.root), wanted)


def meant(facts: SoundFacts) -> Device:
    """The microphone that will be recorded.

    Raises
    ------
    DeviceError
        It is not there.
    UnreadableError
        Nobody can tell without asking PortAudio.
    """
    if facts.wanted is None and len({device.identity for device in facts.present}) == 1:
        return facts.present[0]
    if facts.wanted is None:
        raise UnreadableError("no single microphone, and none is named")
    if not _is_card(facts.wanted):
        raise UnreadableError(f"{facts.wanted!r} is no card: only PortAudio knows it")
    return match(facts.wanted, facts.present)


def _is_card(name: str) -> bool:
    return name.startswith(("usb:", "card:"))


def judge_microphone(facts: SoundFacts) -> Finding:
    """The one that is meant must be there, and be meant by name."""
    if not facts.present and (facts.wanted is None or _is_card(facts.wanted)):
        return Finding("fail", f"no microphone is plugged in; expected {facts.wanted or 'one'}",
                       "plug it in; one on I2S needs its dtoverlay in config.txt")  # fmt: skip
    names = "; ".join(dict.fromkeys(device.identity for device in facts.present))
    if facts.wanted is None and len(facts.present) > 1:
        return Finding("warn", f"several, and none is named: {names}",
                       'name one in deployment.toml: microphone = "..."')  # fmt: skip
    try:
        device = meant(facts)
    except DeviceError as error:
        return Finding("fail", error.message, error.hint)
    named = "" if facts.wanted else ", the only one; name it in deployment.toml"
    return Finding("ok", f"{device.identity}{named}")


@dataclass(frozen=True, slots=True)
class RateFacts:
    """Rates of the microphone that is meant."""

    wanted_hz: int | None
    """By the settings; None: the card's own."""
    opened: "Opened | None"
    """How it runs now; None: nobody has it open."""
    offered: str
    """What the driver says it can; empty: it does not say."""


def look_rate(host: Host) -> RateFacts:
    """Read how the card runs, or could."""
    device = meant(look_sound(host))
    need_numpy(host)
    from edge_probe.health.mixer import read_opened

    number = device.card.number if device.card else -1
    stream = host.read_if_there(f"proc/asound/card{number}/stream0") or ""
    rates = _RATES.findall(stream.partition("Capture:")[2])
    return RateFacts(
        look_orders(host).rate_hz, read_opened(device, host.layout.root),
        ", ".join(dict.fromkeys(rates)),
    )  # fmt: skip


def judge_rate(facts: RateFacts) -> Finding:
    """What is written down must be what the card does: a converter in between makes no band."""
    choose = "choose a rate the microphone has: rate = ... in settings.toml"
    if facts.opened:
        what = f"it runs at {facts.opened.rate_hz} Hz, {facts.opened.format}"
        if facts.wanted_hz not in (None, facts.opened.rate_hz):
            return Finding("fail", f"{what}; expected {facts.wanted_hz} Hz", choose)
        return Finding("ok", what)
    if not facts.offered:
        raise UnreadableError("nobody has it open, and its driver lists no rates")
    what = f"it can {facts.offered} Hz"
    if facts.wanted_hz is None:
        return Finding("ok", f"{what}; the settings leave it to the card")
    if _offers(facts.offered, facts.wanted_hz):
        return Finding("ok", f"{what}; {facts.wanted_hz} are wanted")
    return Finding("fail", f"{what}; {facts.wanted_hz} are wanted", choose)


def _offers(offered: str, rate_hz: int) -> bool:
    """``48000, 44100`` or ``8000 - 48000 (continuous)``."""
    if span := re.match(r"(\d+) - (\d+)", offered):
        return int(span[1]) <= rate_hz <= int(span[2])
    return rate_hz in map(int, re.findall(r"\d+", offered))


@dataclass(frozen=True, slots=True)
class GainFacts:
    """The mixer of the microphone that is meant."""

    controls: Sequence[Control]
    wanted_db: float | None
    """By the deployment file."""


def look_gain(host: Host) -> GainFacts:
    """Read the mixer; nothing is set.

    Raises
    ------
    DeviceError
        The card does not tell.
    """
    device = meant(look_sound(host))
    deployment = look_deployment(host)
    number = device.card.number if device.card else -1
    told = ask("amixer", "-c", str(number), "--", "scontents", package="alsa-utils")
    return GainFacts(parse(told), deployment.gain_db if deployment else None)


def judge_gain(facts: GainFacts) -> Finding:
    """The recorder sets the gain that is named, when it opens the microphone."""
    gains = [control for control in facts.controls if control.levels]
    what = "; ".join(map(_gain, gains)) or "no control of gain"
    if muted := [control.label for control in gains if control.capturing is False]:
        return Finding("warn", f"capture is switched off: {', '.join(muted)}",
                       "switch it on in alsamixer (F4, space), or name a gain")  # fmt: skip
    if busy := [control.label for control in facts.controls if control.is_agc and control.is_on]:
        return Finding("warn", f"the card changes its gain by itself: {', '.join(busy)}",
                       "switch it off in alsamixer, or name a gain")  # fmt: skip
    if facts.wanted_db is None:
        return Finding("warn", f"{what}: none is named, so it can change unseen",
                       "capture_gain_db = ... in deployment.toml")  # fmt: skip
    if len(gains) != 1 or not _meets(gains[0], facts.wanted_db):
        return Finding("warn", f"{what}; {facts.wanted_db:g} dB are named",
                       "the recorder sets it at its start; if not, status tells")  # fmt: skip
    return Finding("ok", f"{what}, as deployment.toml says")


def _gain(control: Control) -> str:
    """As decibels, or else as the driver's share of the range."""
    levels = control.levels
    told = [f"{one.percent} %" if one.db is None else f"{one.db:.2f} dB" for one in levels]
    return f"{control.label} {', '.join(dict.fromkeys(told))}"


def _meets(control: Control, wanted_db: float) -> bool:
    from edge_probe.health.mixer import GAIN_TOLERANCE_DB  # numpy: it read the deployment file

    gains = [level.db for level in control.levels]
    return all(one is not None and abs(one - wanted_db) <= GAIN_TOLERANCE_DB for one in gains)
