"""A microphone by its name, for whoever hears at once; what it did not deliver is told in place."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from time import sleep

import numpy as np
from numpy.typing import NDArray

from edge_probe.clock import Clock
from edge_probe.errors import DeviceLostError
from edge_probe.source import choose_channel
from edge_probe.source.intake import Intake
from edge_probe.source.portaudio import InputStream, find_device
from edge_probe.source.ring import Ring

RING_S = 30.0
"""Audio held while the classifier is busy."""

SILENT_S = 10.0
"""A stream that gives nothing for so long is lost. More patient than the recorder, which opens a
microphone again: here it is the end."""

POLL_S = 0.05
PIECE_S = 1.0
"""At most so much at a time, so that catching up takes no memory."""

_SAMPLE_BYTES = 2


class Microphone:
    """An input device, int16 frames, with the number of those it lost.

    Parameters
    ----------
    name : str, optional
        Name, part of a name, or number of the device; None for the system's default.
    clock : Clock
    sample_rate_hz : int, optional
        None for the device's own rate.
    n_channels : int
        Channels to open.
    channel : int, optional
        The one to listen to, counted from 0; needed when several are opened.
    duration_s : float, optional
        Stop after so many seconds of audio.

    Raises
    ------
    DeviceError
        No such device, or several.
    AudioError
        No such channel, or none was chosen of several.
    """

    def __init__(
        self,
        name: str | None,
        clock: Clock,
        *,
        sample_rate_hz: int | None = None,
        n_channels: int = 1,
        channel: int | None = None,
        duration_s: float | None = None,
    ) -> None:
        self._device = device = find_device(name)
        self._clock = clock
        self.name = str(device["name"])
        self.sample_rate_hz = rate_hz = int(sample_rate_hz or device["default_samplerate"])
        self.n_channels = n_channels
        self.channel = choose_channel(n_channels, channel, self.name)
        self._n_wanted = None if duration_s is None else max(1, round(duration_s * rate_hz))
        self._ring = Ring(round(RING_S * rate_hz), _SAMPLE_BYTES * n_channels)
        self._intake = Intake(self._ring, rate_hz, full="the classifier is too slow")
        self._n_read = self._n_skipped = 0
        self.n_missing = 0
        """Frames in gaps so far."""

    @property
    def n_overflows(self) -> int:
        """Losses PortAudio itself has reported so far."""
        return self._ring.n_flagged

    @property
    def start_utc(self) -> datetime | None:
        """When the first frame came, by the system clock as it goes now; None before it."""
        opened_ns = self._intake.timeline.opened_ns
        if opened_ns is None:
            return None
        age_ns = self._clock.monotonic_ns() - opened_ns
        return datetime.fromtimestamp((self._clock.utc_ns() - age_ns) * 1e-9, UTC)

    def frames(self) -> Iterator[tuple[NDArray[np.int16], int]]:
        """Frames as delivered, with the number lost just before them; to be called once.

        Frames that came while a loss was suspected are held back, for less than a second, until it
        is known where the loss belongs.

        Yields
        ------
        frames : (n, n_channels) int16
        n_missing : int

        Raises
        ------
        DeviceError
            The device cannot be opened so.
        DeviceLostError
            It stopped delivering; all that came has been given out.
        """
        with closing(self._open()) as stream:
            while (reason := stream.lost(SILENT_S)) is None and not self._has_enough:
                self._intake.look()
                yield from self._certain()
                sleep(POLL_S)
        self._intake.look(at_end=True)
        yield from self._certain()
        if not self._has_enough:
            raise DeviceLostError(
                f"{self.name}: the microphone stopped delivering after {self._n_read} frames: "
                f"{reason}",
                hint="is it still plugged in? edge-probe devices lists what there is",
            )

    def _open(self) -> InputStream:
        return InputStream(
            self._device, self._ring, self._clock, rate_hz=self.sample_rate_hz,
            n_channels=self.n_channels, sample_bytes=_SAMPLE_BYTES,
        )  # fmt: skip

    @property
    def _has_enough(self) -> bool:
        return self._n_read == self._n_wanted

    def _certain(self) -> Iterator[tuple[NDArray[np.int16], int]]:
        """What is certain by now."""
        while not self._has_enough:
            if self._n_read < self._intake.end:
                n_missing, self._n_skipped = self._n_skipped, 0
                yield self._take(), n_missing
            elif gap := self._intake.gap:
                self._n_skipped += gap.n_frames
                self.n_missing += gap.n_frames
                self._intake.pass_gap()
            else:
                return

    def _take(self) -> NDArray[np.int16]:
        begin = self._n_read
        ends = [self._intake.end, begin + round(PIECE_S * self.sample_rate_hz)]
        self._n_read = min(ends if self._n_wanted is None else [*ends, self._n_wanted])
        frames = self._ring.read(begin, self._n_read).view(np.int16)
        self._ring.release(self._n_read)
        return frames
