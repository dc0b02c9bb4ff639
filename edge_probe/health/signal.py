"""What the samples themselves say about the microphone, once a minute and channel.

Of every second the first part is looked at: all of it up to `LOOK_SAMPLES` samples of all channels
together, so 384 kHz costs hardly more than 96 kHz. Levels, clipping and bits come from all of a
look, the spectrum from its first twelfth of a second. 0 dBFS is the power of a sine of full scale
(AES17), and a peak of full scale.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.capture.segment import Format
from edge_probe.clock import Clock
from edge_probe.health.row import Alarm, Row
from edge_probe.health.spectrum import Spectrum, empty_from_hz, likely_rate_hz

LOOK_SAMPLES = 100_000

SILENT_DBFS = -200.0
"""Stands for no power at all."""

_FLOOR_PERCENTILE = 10
_MIN_LOOKS = 10
"""Fewer say nothing about a noise floor or an empty band."""

_MAX_CLIPPED = 1e-3
_MAX_DC = 0.05

_MIN_REACH = 1000
"""Steps from the middle to the peak, and"""
_FLAT_SHARE = 0.6
"""share of the topmost hundredth that lies exactly at the top: flat. Smooth peaks that reach so
many steps have at most a third there."""
_MIN_FLAT_RUNS = 3


class Life(NamedTuple):
    """Whether the samples of any channel change, as far as they were looked at; monotonic."""

    is_alive: bool
    since_ns: int
    """Begin of the first look that found so."""
    until_ns: int
    """End of the last one."""

    @property
    def lasts_s(self) -> float:
        """How long it has been so."""
        return (self.until_ns - self.since_ns) * 1e-9


class Signal:
    """Watches the frames of one stream.

    Parameters
    ----------
    format_ : Format
    clock : Clock
    """

    def __init__(self, format_: Format, clock: Clock) -> None:
        self._format = format_
        self._clock = clock
        self._spectrum = Spectrum(format_.rate_hz)
        n_frames = min(format_.rate_hz, LOOK_SAMPLES // format_.n_channels)
        self._n_look = max(n_frames, self._spectrum.n_samples)
        self._look = bytearray(self._n_look * format_.frame_bytes)
        self._at = 0  # bytes since the second began
        self._channels = self._new_minute()
        self.life: Life | None = None
        """None before the first look."""

    def _new_minute(self) -> Sequence["_Channel"]:
        return [_Channel(self._format, self._spectrum) for _ in range(self._format.n_channels)]

    def feed(self, frames: bytes | memoryview) -> None:
        """Take frames, whole or not, in order."""
        view = memoryview(frames).cast("B")
        n_second = self._format.rate_hz * self._format.frame_bytes
        while view:
            looking = self._at < len(self._look)
            part = view[: (len(self._look) if looking else n_second) - self._at]
            if looking:
                self._look[self._at : self._at + len(part)] = part
            self._at += len(part)
            if looking and self._at == len(self._look):
                self._examine()
            self._at %= n_second
            view = view[len(part) :]

    def _examine(self) -> None:
        values = samples(self._look, self._format)
        alive = False
        for channel, one in zip(self._channels, values.T, strict=True):
            alive |= channel.look(np.ascontiguousarray(one))
        now_ns = self._clock.monotonic_ns()
        if self.life is not None and self.life.is_alive == alive:
            since_ns = self.life.since_ns
        else:
            since_ns = now_ns - round(self._n_look / self._format.rate_hz * 1e9)
        self.life = Life(alive, since_ns, now_ns)

    def minute(self, now_ns: int) -> tuple[Sequence[Row], Sequence[Alarm]]:
        """Rows and alarms of what was looked at since the last call.

        Parameters
        ----------
        now_ns : int
            Monotonic time, for the rows.
        """
        channels, self._channels = self._channels, self._new_minute()
        rows: list[Row] = []
        alarms: list[Alarm] = []
        for number, channel in enumerate(channels):
            if channel.n_looks:
                edge_hz = channel.edge_hz()
                rows += channel.rows(now_ns, number, edge_hz)
                alarms += channel.alarms(number, edge_hz)
        return rows, alarms


def samples(frames: bytes | bytearray, format_: Format) -> NDArray[np.int16] | NDArray[np.int32]:
    """Frames as numbers, (n, n_channels): int16, or int32 for 3 and 4 bytes."""
    if format_.sample_bytes == 3:
        wide = np.zeros((len(frames) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(frames, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] >> 8).reshape(-1, format_.n_channels)
    kind = "<i2" if format_.sample_bytes == 2 else "<i4"
    return np.frombuffer(frames, kind).reshape(-1, format_.n_channels)


def n_clipped(values: NDArray[np.signedinteger], full: int, step: int) -> int:
    """Samples at full scale, or at the top of what was cut off below it.

    Cut off below full scale means: most of the topmost hundredth lies exactly at the top, in runs.
    An analogue stage that adds noise after it has clipped is not seen.

    Parameters
    ----------
    values : (n,) integers
    full : int
        Full scale: 2 to the power of bits - 1.
    step : int
        Between neighbouring values.
    """
    lowest, highest = int(values.min()), int(values.max())
    if lowest == highest:
        return 0
    n_found = 0
    reach = (highest - lowest) / 2
    if highest >= full - step:
        n_found += int(np.count_nonzero(values >= full - step))
    elif reach >= _MIN_REACH * step:
        n_found += _n_flat(values == highest, values >= highest - reach / 100)
    if lowest <= step - full:
        n_found += int(np.count_nonzero(values <= step - full))
    elif reach >= _MIN_REACH * step:
        n_found += _n_flat(values == lowest, values <= lowest + reach / 100)
    return n_found


def _n_flat(at_end: NDArray[np.bool_], near: NDArray[np.bool_]) -> int:
    n_runs = np.count_nonzero(at_end[:-2] & at_end[1:-1] & at_end[2:])
    n_at_end = int(np.count_nonzero(at_end))
    flat = n_runs >= _MIN_FLAT_RUNS and n_at_end >= _FLAT_SHARE * np.count_nonzero(near)
    return n_at_end if flat else 0


def decibel(power: float) -> float:
    """10 lg, down to `SILENT_DBFS`."""
    return max(SILENT_DBFS, 10 * math.log10(power)) if power > 0 else SILENT_DBFS


class _Channel:
    """One channel since the minute began."""

    def __init__(self, format_: Format, spectrum: Spectrum) -> None:
        self._rate_hz = format_.rate_hz
        self._n_bits = 8 * format_.sample_bytes
        self._full = 1 << (self._n_bits - 1)
        self._spectrum = spectrum
        self._first: int | None = None
        self._changing = 0  # bits that were seen to change
        self.n_looks = 0
        self._n_flat_looks = self._n_samples = self._n_clipped = self._peak = 0
        self._dc = self._power = 0.0
        self._bands: list[Sequence[float]] = []
        self._powers = np.zeros(spectrum.n_samples // 2)

    def look(self, values: NDArray[np.signedinteger]) -> bool:
        """Take a look at (n,) integers; whether they vary."""
        lowest, highest = int(values.min()), int(values.max())
        if self._first is None:
            self._first = int(values[0])
        changed = np.bitwise_or.reduce(values ^ values.dtype.type(self._first))
        self._changing |= int(changed) & ((1 << self._n_bits) - 1)
        self.n_looks += 1
        self._n_samples += len(values)
        self._n_flat_looks += lowest == highest
        self._peak = max(self._peak, highest, -lowest)
        self._n_clipped += n_clipped(values, self._full, self._step)
        level = values.astype(np.float32) * np.float32(1 / self._full)
        dc = level.mean(dtype=np.float64)
        level -= np.float32(dc)
        self._dc += float(dc)
        self._power += float(np.dot(level, level)) / len(level)
        powers = self._spectrum.powers(level[: self._spectrum.n_samples])
        self._powers += powers
        self._bands.append(self._spectrum.bands(powers))
        return lowest != highest

    @property
    def _step(self) -> int:
        """Weight of the lowest bit that changes."""
        return self._changing & -self._changing or 1

    @property
    def _peak_dbfs(self) -> float:
        return decibel((self._peak / self._full) ** 2)

    @property
    def _dc_share(self) -> float:
        return self._dc / self.n_looks

    def edge_hz(self) -> float | None:
        """Above which nothing is, if that says that the stream was resampled."""
        if self.n_looks < _MIN_LOOKS:
            return None
        quantum = self._step / self._full
        return empty_from_hz(self._powers / self.n_looks, self._rate_hz, quantum)

    def rows(self, now_ns: int, channel: int, edge_hz: float | None) -> Sequence[Row]:
        """The readings of the minute."""
        n_used_bits = self._n_bits - (self._step.bit_length() - 1) if self._changing else 0
        found = [
            ("peak", self._peak_dbfs, "dBFS"),
            ("rms", decibel(2 * self._power / self.n_looks), "dBFS"),
            ("dc", self._dc_share, "FS"),
            ("clipped", self._n_clipped / self._n_samples, "ratio"),
            ("bits", n_used_bits, "bit"),
            ("flat", self._n_flat_looks / self.n_looks, "ratio"),
        ]
        if self.n_looks >= _MIN_LOOKS:
            floors = np.percentile(np.array(self._bands), _FLOOR_PERCENTILE, axis=0)
            for middle_hz, floor in zip(self._spectrum.band_hz, floors, strict=True):
                found.append((f"floor_{middle_hz:g}_hz", decibel(2 * float(floor)), "dBFS"))
        if edge_hz:
            found.append(("true_rate", likely_rate_hz(edge_hz), "Hz"))
        return [Row(now_ns, f"{name}.{channel}", value, unit) for name, value, unit in found]

    def alarms(self, channel: int, edge_hz: float | None) -> Sequence[Alarm]:
        """What is wrong with the minute."""
        if self._n_flat_looks == self.n_looks:
            return [Alarm(
                f"flat_line.{channel}", f"channel {channel}: every sample has the same value",
                "is this channel connected? look at cable, mute switch and gain",
            )]  # fmt: skip
        found = []
        clipped = self._n_clipped / self._n_samples
        if clipped > _MAX_CLIPPED:
            found.append(Alarm(
                f"clipping.{channel}", f"channel {channel}: {clipped:.2%} of the samples are cut"
                f" off at {self._peak_dbfs:.1f} dBFS", "lower the gain",
            ))  # fmt: skip
        if abs(self._dc_share) > _MAX_DC:
            found.append(Alarm(
                f"dc.{channel}", f"channel {channel}: a DC offset of {self._dc_share:+.1%} of full"
                " scale", "is the plug-in power right, is water in the microphone?",
            ))  # fmt: skip
        stuck = ((1 << self._changing.bit_length()) - self._step) & ~self._changing
        if stuck:
            found.append(Alarm(
                f"stuck_bits.{channel}", f"channel {channel}: bits of the samples never change:"
                f" {stuck:#x} of {(1 << self._n_bits) - 1:#x}", "the sound card is broken",
            ))  # fmt: skip
        if edge_hz:
            found.append(Alarm(
                f"resampled.{channel}", f"channel {channel}: {self._rate_hz} Hz was opened, but"
                f" nothing is above {edge_hz:.0f} Hz: resampled from"
                f" {likely_rate_hz(edge_hz)} Hz, it seems",
                "open the microphone itself, not a sound server, at a rate of its own",
            ))  # fmt: skip
        return found
