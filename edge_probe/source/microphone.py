"""A microphone by its name; what it failed to deliver is counted, never papered over.

PortAudio's overflow flag misses most losses, so frames are also counted against the monotonic
clock.
"""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import DeviceError, DeviceLostError
from edge_probe.source import choose_channel
from edge_probe.source.loss import Gaps, Shortfall
from edge_probe.source.portaudio import find_device, portaudio

_log = logging.getLogger(__name__)

RING_S = 30.0
"""Audio held while the classifier is busy, in seconds."""

POLL_S = 0.05
SILENCE_S = 10.0
"""A stream that is open but gives nothing for so long is lost."""


class Microphone:
    """An input device, int16 frames, with the number of those it lost.

    Parameters
    ----------
    name : str, optional
        Name, part of a name, or number of the device; None for the system's default.
    sample_rate_hz : int, optional
        None for the device's own rate.
    n_channels : int
        Channels to open.
    channel : int, optional
        The one to listen to, counted from 0; needed when several are opened.
    duration_s : float, optional
        Stop after so many seconds of audio.
    """

    def __init__(
        self,
        name: str | None,
        *,
        sample_rate_hz: int | None = None,
        n_channels: int = 1,
        channel: int | None = None,
        duration_s: float | None = None,
    ) -> None:
        device = find_device(name)
        self.name = str(device["name"])
        self._index = int(device["index"])
        self.sample_rate_hz = int(sample_rate_hz or device["default_samplerate"])
        self.n_channels = n_channels
        self.channel = choose_channel(n_channels, channel, self.name)
        self._n_wanted = (
            None if duration_s is None else max(1, round(duration_s * self.sample_rate_hz))
        )
        self._ring = np.zeros((0, n_channels), np.int16)
        self._gaps = Gaps()
        self._n_written = self._n_read = 0
        self._last_call_s = time.monotonic()
        self.n_overflows = 0
        """Times PortAudio itself reported a loss."""
        self.n_missing = 0
        """Frames booked as lost, by the clock or because the ring was full."""
        self.start_utc: datetime | None = None
        """System time of the first frame."""

    def _callback(self, data: NDArray[np.int16], n_frames: int, _time: object, flags: Any) -> None:
        """Copy and count; nothing here may wait, allocate much or write."""
        self._last_call_s = time.monotonic()
        if flags:
            self.n_overflows += 1
        size = len(self._ring)
        if self._n_written + n_frames - self._n_read > size:
            self._gaps.drop(self._n_written, n_frames)
            return
        at = self._n_written % size
        first = min(n_frames, size - at)
        self._ring[at : at + first] = data[:first]
        self._ring[: n_frames - first] = data[first:]
        self._n_written += n_frames

    def frames(self) -> Iterator[tuple[NDArray[np.int16], int]]:
        """Frames as delivered, with the number lost just before them.

        Frames that came while a loss was suspected are held back, for about a second, until it is
        known where the loss belongs.

        Yields
        ------
        frames : (n, n_channels) int16
        n_missing : int

        Raises
        ------
        DeviceError
            The device cannot be opened so.
        DeviceLostError
            It stopped delivering.
        """
        shortfall, n_missing = Shortfall(self.sample_rate_hz), 0
        n_certain = 0  # frames delivered before any loss that is only suspected
        with self._open() as stream:
            self._last_call_s = time.monotonic()
            while self._n_wanted is None or self._n_read < self._n_wanted:
                self._count(self._gaps.collect())
                last_call_s, n_written = self._last_call_s, self._n_written
                n_owed = n_written + self.n_missing
                # until the first frame the card only gets ready
                if n_written and (n_lost := shortfall.missing(n_owed, last_call_s)):
                    self._gaps.book(n_certain, n_lost)
                    self._count(n_lost)
                if not shortfall.suspected:
                    n_certain = n_written
                n_missing += self._gaps.take(self._n_read)
                n_new = self._gaps.next_position(n_certain) - self._n_read
                if n_new <= 0:
                    self._refuse_dead(stream.active, last_call_s)
                    time.sleep(POLL_S)
                    continue
                if self.start_utc is None:
                    age_s = time.monotonic() - last_call_s + n_written / self.sample_rate_hz
                    self.start_utc = datetime.now(UTC) - timedelta(seconds=age_s)
                yield self._take(n_new), n_missing
                n_missing = 0

    def _open(self) -> Any:
        """The stream, not started yet, and a ring for it."""
        sounddevice = portaudio()
        try:
            stream = sounddevice.InputStream(
                device=self._index, samplerate=self.sample_rate_hz, channels=self.n_channels,
                dtype="int16", latency="high", callback=self._callback,
            )  # fmt: skip
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"{self.name}: cannot open {self.n_channels} channels at "
                f"{self.sample_rate_hz} Hz: {error}",
                hint="edge-probe devices lists channels and rates",
            ) from error
        self._ring = np.zeros((round(RING_S * self.sample_rate_hz), self.n_channels), np.int16)
        return stream

    def _take(self, n_frames: int) -> NDArray[np.int16]:
        if self._n_wanted is not None:
            n_frames = min(n_frames, self._n_wanted - self._n_read)
        positions = np.arange(self._n_read, self._n_read + n_frames) % len(self._ring)
        frames: NDArray[np.int16] = self._ring[positions]
        self._n_read += n_frames
        return frames

    def _count(self, n_missing: int) -> None:
        if n_missing:
            self.n_missing += n_missing
            _log.warning(
                "%s: %d frames (%.3f s) are missing; a new run begins",
                self.name, n_missing, n_missing / self.sample_rate_hz,
            )  # fmt: skip

    def _refuse_dead(self, active: bool, last_call_s: float) -> None:
        silent_s = time.monotonic() - last_call_s
        if not active or silent_s > SILENCE_S:
            raise DeviceLostError(
                f"{self.name}: the microphone stopped delivering ({self._n_read} frames received)",
                hint="is it still plugged in? edge-probe devices lists what there is",
            )
