"""What the sound card really does: gain, automatic gain, rate and format, read when it is opened.

A gain that somebody's mixer setting changed makes levels of two seasons incomparable, and nothing
in the audio tells. Linux only: ``amixer`` and ``/proc/asound``.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_probe.capture.segment import Format
from edge_probe.errors import DeviceError
from edge_probe.health.controls import Control, parse
from edge_probe.health.identity import Device
from edge_probe.health.row import Alarm, Row
from edge_probe.health.tool import ask

_log = logging.getLogger(__name__)

GAIN_TOLERANCE_DB = 0.5
"""Steps of usual controls are 0.3 to 1.5 dB; a gain that a control has is met far closer."""

_BITS = re.compile(r"[SU](\d+)")


@dataclass(frozen=True, slots=True)
class Opened:
    """How the driver runs an open device."""

    rate_hz: int
    format: str
    """ALSA's name: ``S16_LE``, ``S24_3LE``."""

    @property
    def n_bits(self) -> int:
        """Of a sample; 0 where the name does not tell."""
        found = _BITS.match(self.format)
        return int(found[1]) if found else 0


def read_opened(device: Device, root: Path = Path("/")) -> Opened | None:
    """How the driver runs a device, or None if nobody has it open.

    Parameters
    ----------
    device : Device
        On a card.
    root : Path
        Folder that holds ``proc``.
    """
    card = device.card.number if device.card else -1
    path = root / f"proc/asound/card{card}/pcm{device.pcm}c/sub0/hw_params"
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:  # unplugged, or a kernel without these files
        return None
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "rate" not in fields or "format" not in fields:
        return None
    return Opened(int(fields["rate"].split()[0]), fields["format"])


def check_opened(
    device: Device, wanted: Format, now_ns: int, root: Path = Path("/")
) -> tuple[Sequence[Row], Sequence[Alarm]]:
    """Compare how the driver runs an open device with what is written down as its format.

    Parameters
    ----------
    device : Device
        On a card, and open.
    wanted : Format
    now_ns : int
        Monotonic time, for the rows.
    root : Path
        Folder that holds ``proc``.
    """
    opened = read_opened(device, root)
    if opened is None:
        return [], [Alarm(
            "rerouted", f"{device.identity}: the driver does not have it open",
            "another microphone is being recorded, or the kernel tells nothing in /proc/asound",
        )]  # fmt: skip
    rows = [
        Row(now_ns, "alsa_rate", opened.rate_hz, "Hz"),
        Row(now_ns, "alsa_bits", opened.n_bits, "bit", opened.format),
    ]
    alarms = []
    if opened.rate_hz != wanted.rate_hz:
        alarms.append(Alarm(
            "rate", f"{device.identity}: expected {wanted.rate_hz} Hz, the card runs at"
            f" {opened.rate_hz} Hz", "choose a rate the microphone has: edge-probe devices",
        ))  # fmt: skip
    if 0 < opened.n_bits < 8 * wanted.sample_bytes:
        alarms.append(Alarm(
            "format", f"{device.identity}: expected {8 * wanted.sample_bytes} bits, the card"
            f" gives {opened.format}", "choose the bits it has: more are only padding",
        ))  # fmt: skip
    return rows, alarms


class Mixer:
    """Reads and sets the capture gain of a card.

    Parameters
    ----------
    gain_db : float, optional
        To be set at every opening; None leaves the mixer as it is.
    control : str, optional
        Name of the control, with ``,INDEX`` where several have it; needed if the card has several.
    amixer : str
        The program.
    """

    def __init__(
        self, gain_db: float | None, control: str | None = None, *, amixer: str = "amixer"
    ) -> None:
        self._gain_db = gain_db
        self._control = control
        self._amixer = amixer
        self._unavailable_told = False

    def check(self, device: Device, now_ns: int) -> tuple[Sequence[Row], Sequence[Alarm]]:
        """Read, set what is to be set, read back.

        Parameters
        ----------
        device : Device
            On a card.
        now_ns : int
            Monotonic time, for the rows.
        """
        try:
            controls = self._read(device)
            if self._gain_db is not None:
                self._set(device, controls, self._gain_db)
                controls = self._read(device)
        except DeviceError as error:
            return [], self._unavailable(error)
        return self._rows(controls, now_ns), self._alarms(device, controls)

    def _unavailable(self, error: DeviceError) -> Sequence[Alarm]:
        """Worth an alarm where a gain was asked for, otherwise a word, once."""
        if self._gain_db is not None:
            text = f"expected a gain of {self._gain_db:g} dB, cannot set it: {error.message}"
            return [Alarm("gain", text, error.hint or "set it by hand")]
        if not self._unavailable_told:
            self._unavailable_told = True
            _log.warning("gain and AGC are not known: %s; %s", error.message, error.hint)
        return []

    def _ask(self, device: Device, *arguments: str) -> str:
        number = device.card.number if device.card else -1
        # Behind "--" a negative gain is no option.
        return ask(self._amixer, "-c", str(number), "--", *arguments, package="alsa-utils")

    def _read(self, device: Device) -> Sequence[Control]:
        return parse(self._ask(device, "scontents"))

    def _set(self, device: Device, controls: Sequence[Control], gain_db: float) -> None:
        for control in controls:
            if control.is_agc and control.is_on:
                self._ask(device, "sset", control.selector, str(control.off))
        for control in self._chosen(controls):
            on = ["cap"] * (control.capturing is not None)
            self._ask(device, "sset", control.selector, "capture", f"{gain_db:.2f}dB", *on)

    def _chosen(self, controls: Sequence[Control]) -> Sequence[Control]:
        """The control of the gain; none or several if that is not clear."""
        gains = [control for control in controls if control.levels]
        if self._control is not None:
            labels = (self._control, f"{self._control},0")
            gains = [control for control in gains if control.label in labels]
        return gains if len(gains) == 1 else []

    def _rows(self, controls: Sequence[Control], now_ns: int) -> Sequence[Row]:
        rows = []
        for control in controls:
            label = control.label
            if control.levels:
                gains = [level.db for level in control.levels]
                told = ", ".join(f"{level.channel} {_say(level.db)}" for level in control.levels)
                known = [gain for gain in gains if gain is not None]
                if len(known) == len(gains):
                    rows.append(Row(now_ns, f"gain.{label}", min(known), "dB", told))
                least = min(level.percent for level in control.levels)
                rows.append(Row(now_ns, f"gain_percent.{label}", least, "%"))
            elif control.is_agc:
                rows.append(Row(now_ns, f"agc.{label}", control.is_on, "1", control.state or ""))
        return rows

    def _alarms(self, device: Device, controls: Sequence[Control]) -> Sequence[Alarm]:
        alarms = []
        for control in controls:
            if control.levels and control.capturing is False:
                alarms.append(Alarm(
                    f"muted.{control.label}", f"{device.identity}: capture of {control.label} is"
                    " switched off", "switch it on in alsamixer (F4, space), or set a gain",
                ))  # fmt: skip
            if control.is_agc and control.is_on:
                alarms.append(Alarm(
                    f"agc.{control.label}", f"{device.identity}: {control.label} is on: the card"
                    " changes its gain by itself", "switch it off in alsamixer, or set a gain",
                ))  # fmt: skip
        if self._gain_db is not None and (problem := self._gain_problem(controls, self._gain_db)):
            alarms.append(Alarm(
                "gain", f"{device.identity}: expected a gain of {self._gain_db:g} dB, {problem}",
                "choose a gain that alsamixer shows for this card",
            ))  # fmt: skip
        return alarms

    def _gain_problem(self, controls: Sequence[Control], gain_db: float) -> str | None:
        chosen = self._chosen(controls)
        if not chosen:
            names = " and ".join(control.label for control in controls if control.levels) or "none"
            wanted = f"named {self._control!r}" if self._control else "of capture"
            return f"found no single control {wanted}: this card has {names}"
        gains = [level.db for level in chosen[0].levels]
        if None in gains:
            return f"but {chosen[0].label} knows no decibels"
        if all(abs(g - gain_db) <= GAIN_TOLERANCE_DB for g in gains if g is not None):
            return None
        return f"read back {', '.join(_say(gain) for gain in gains)} of {chosen[0].label}"


def _say(gain_db: float | None) -> str:
    return "unknown" if gain_db is None else f"{gain_db:.2f} dB"
