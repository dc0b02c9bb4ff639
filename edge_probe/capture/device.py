"""A microphone that fills a ring, and how one tells that it no longer does."""

from typing import Any

from edge_probe.capture.ring import Ring
from edge_probe.capture.segment import Format
from edge_probe.capture.writer import SYNC_S
from edge_probe.clock import Clock
from edge_probe.source.portaudio import BLOCK_S, InputStream

RING_S = 30.0
"""Audio the ring holds while the disk stands still, besides what is not safe yet."""

FIRST_S = 5.0
"""A sound card may take so long to give its first block."""

SILENT_S = 2.2
"""No block for so long: the microphone is lost, whatever PortAudio believes."""


def ring_for(format_: Format) -> Ring:
    """A ring with room for `RING_S` of frames."""
    return Ring(round((RING_S + SYNC_S + 10 * BLOCK_S) * format_.rate_hz), format_.frame_bytes)


class Input:
    """One opening of one microphone.

    Parameters
    ----------
    device : mapping
        As `edge_probe.source.portaudio.find_device` returns it.
    format_ : Format
    clock : Clock

    Raises
    ------
    DeviceError
        It cannot be opened so.
    """

    def __init__(self, device: dict[str, Any], format_: Format, clock: Clock) -> None:
        self.ring = ring = ring_for(format_)
        self._clock = clock
        self._opened_ns = clock.monotonic_ns()

        def deliver(block: Any, flagged: bool) -> None:
            ring.push(block, clock.monotonic_ns(), flagged)

        self._stream = InputStream(
            device, rate_hz=format_.rate_hz, n_channels=format_.n_channels,
            sample_bytes=format_.sample_bytes, deliver=deliver,
        )  # fmt: skip

    def lost(self) -> str | None:
        """Why no more audio is to be expected, or None while all is well."""
        last_ns = self.ring.last_stamp_ns
        silent_s = (self._clock.monotonic_ns() - (last_ns or self._opened_ns)) * 1e-9
        if not self._stream.active:
            return "the stream ended by itself"
        if silent_s > (SILENT_S if last_ns else FIRST_S):
            return f"no audio for {silent_s:.1f} s"
        return None

    def close(self) -> None:
        """Stop; the ring keeps what came."""
        self._stream.close()
