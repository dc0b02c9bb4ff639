"""From the ring to the disk: certain frames into segments, losses into the ledger, in order."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import BLOCK_BYTES, Format
from edge_probe.capture.store import Store, Timing
from edge_probe.clock import Clock
from edge_probe.database import is_damage
from edge_probe.source.intake import Intake
from edge_probe.source.portaudio import BLOCK_S
from edge_probe.source.ring import Ring

_log = logging.getLogger(__name__)

SYNC_S = 4.0
"""Audio a power cut can take. Each time goes through the journal, too (ext4, measured): at 48 kHz,
16 bits, mono that is 5 % on top of the audio, and 8 % every 2 s."""

RING_S = 30.0
"""Audio the ring holds while the disk stands still, besides what is not safe yet."""

HEALTH_S = 600.0
"""Health waits no longer for the transaction of a segment."""

_RETRY_S = 1.0
_WRITE_S = 1.0
"""Audio copied at a time."""


def ring_for(format_: Format) -> Ring:
    """A ring with room for `RING_S` of frames."""
    n_unsafe = (SYNC_S + 10 * BLOCK_S) * format_.rate_hz + BLOCK_BYTES / format_.frame_bytes
    return Ring(round(RING_S * format_.rate_hz + n_unsafe), format_.frame_bytes)


class Writer:
    """Takes one stream from its ring to the disk; `step` is called several times a second.

    Frames leave the ring only when they are safe, so a disk that fails for less than the ring
    holds costs nothing: the store is opened anew and goes on behind the last safe frame.

    Parameters
    ----------
    ring : Ring
    format_ : Format
    device : str
        Identity of the microphone.
    segment_s : float
        Length of a segment; less where that is more than 4 GiB.
    open_store : callable
        Opens a `Store`, given what remains of the one before.
    clock : Clock
    watch : callable, optional
        Is shown every frame, in order, in the thread that calls `step`.
    """

    def __init__(
        self,
        ring: Ring,
        format_: Format,
        device: str,
        *,
        segment_s: float,
        open_store: Callable[[Remains], Store],
        clock: Clock,
        watch: Callable[[memoryview], None] | None = None,
    ) -> None:
        self._ring = ring
        self.format = format_
        self._device = device
        self._n_planned = format_.frames_of(segment_s)
        self._open_store = open_store
        self._clock = clock
        self._watch = watch
        self._n_watched = 0
        self.lost: Counter[str] = Counter()
        """Frames in gaps that are in the ledger, by cause."""
        self._intake = Intake(ring, format_.rate_hz, full="disk")
        self._timeline = self._intake.timeline
        self._store: Store | None = None
        self._is_failing = False
        self._remains = Remains()  # of the store that failed last
        self._stream: int | None = None
        self._position = 0  # of the next frame to write
        self._segment_position = 0  # of the first frame of the segment that grows
        self._n_lost = 0  # frames in gaps before the position
        self._full_from: int | None = None  # first frame of the gap that grows for want of room
        self._ending = False
        self._synced_ns = self._retry_ns = clock.monotonic_ns()

    @property
    def n_frames(self) -> int:
        """Frames of the stream dealt with so far, lost ones included."""
        return self._position + self._n_lost

    @property
    def rate_hz(self) -> int:
        """Of the stream."""
        return self.format.rate_hz

    @property
    def stream(self) -> int | None:
        """Its number; None until the disk has taken it."""
        return self._stream

    def step(self) -> bool:
        """Do what there is to do; False while the disk fails."""
        self._intake.look()
        self._observe()
        return self._try(self._write_certain)

    def _observe(self) -> None:
        """Show new frames to whoever watches the sound, also while the disk fails."""
        n_written = self._ring.n_written
        if self._watch is not None and n_written > self._n_watched:
            self._watch(self._ring.read(self._n_watched, n_written).data)
        self._n_watched = n_written

    def end(self, cause: str) -> bool:
        """Write what is left and close the stream: no more frames come.

        Returns
        -------
        bool
            Whether all of it is on the disk; if not, call it again.
        """
        self._ending = True
        self._intake.look(at_end=True)

        def finish(store: Store) -> None:
            self._write(store)
            store.end_stream(self.n_frames, cause, self._timing())
            store.close()

        return self._try(finish)

    def _timing(self) -> Timing:
        now_ns = self._timeline.time_ns(self.n_frames)
        return Timing(self._timeline.opened_ns or now_ns, now_ns, self._timeline.drift)

    def _try(self, work: Callable[[Store], None]) -> bool:
        """Work with the store; one that fails is given up and opened anew after a while."""
        if (opened_ns := self._timeline.opened_ns) is None:
            return True  # nothing has come yet
        now_ns = self._clock.monotonic_ns()
        if self._store is None and now_ns < self._retry_ns:
            return False
        try:
            work(self._store or self._open(opened_ns))
        except (OSError, sqlite3.Error) as error:
            if not self._is_failing:  # once, not every second for months
                _log.error("the disk fails, audio is kept in memory meanwhile: %s", error)
            self._is_failing = True
            self._retry_ns = now_ns + round(_RETRY_S * 1e9)
            self._give_up(error)
            return False
        if self._is_failing:
            _log.info("the disk works again")
        self._is_failing = False
        return True

    def _open(self, opened_ns: int) -> Store:
        self._store = store = self._open_store(self._remains)
        self._remains = Remains()
        if self._stream is None:
            self._stream = store.begin_stream(self._device, self.format, opened_ns)
        else:
            store.continue_stream(
                self._stream, self._device, self.format, opened_ns, self.n_frames
            )  # fmt: skip
        return store

    def _give_up(self, error: Exception | None = None) -> None:
        """Back to the last frame that is safe."""
        is_suspect = self._remains.is_suspect or (error is not None and is_damage(error))
        if self._store is not None:
            self._remains = self._store.abandon()
            if self._store.segment is not None:
                self._position = self._segment_position + self._store.segment.n_synced
                self._full_from = None
            self._store = None
        self._remains = replace(self._remains, is_suspect=is_suspect)

    def _write_certain(self, store: Store) -> None:
        self._write(store)
        now_ns = self._clock.monotonic_ns()
        if store.segment and now_ns - self._synced_ns >= SYNC_S * 1e9:
            store.segment.sync()
            self._synced_ns = now_ns
            self._ring.release(self._segment_position + store.segment.n_synced)
        if now_ns - store.noted_ns >= HEALTH_S * 1e9:
            store.keep_health()

    def _write(self, store: Store) -> None:
        """Frames and gaps, in order, as far as they are certain."""
        while True:
            if self._position < self._intake.end:
                if not self._append(store, self._intake.end):
                    return
            elif gap := self._intake.gap:
                store.gap(self.n_frames, gap.n_frames, gap.cause)
                self._ring.release(self._position)
                self.lost[gap.cause] += gap.n_frames  # first: others see both, and no gap is stored
                self._n_lost += gap.n_frames
                self._full_from = None
                self._intake.pass_gap()
            else:
                return

    def _append(self, store: Store, end: int) -> bool:
        """Some frames, at most to the end of the segment; False: they have to wait."""
        segment = store.segment
        if segment is None or segment.n_frames == segment.n_planned:
            segment = store.begin_segment(self.n_frames, self._n_planned, self._timing())
            if segment is None:
                return self._lose(store, end)
            self._full_from = None
            self._segment_position = self._position
            self._ring.release(self._position)
        at_once = max(1, round(_WRITE_S * self.format.rate_hz))
        n_frames = min(end - self._position, at_once, segment.n_planned - segment.n_frames)
        segment.write(self._ring.read(self._position, self._position + n_frames).data)
        self._position += n_frames
        return True

    def _lose(self, store: Store, end: int) -> bool:
        """No room by the owner's rules: what the ring cannot hold for long joins a growing gap."""
        if not self._ending and self._ring.n_written - self._position < self._ring.n_frames // 2:
            return False
        if self._full_from is None:
            self._full_from = self.n_frames
        n_frames = self.n_frames - self._full_from + end - self._position
        store.gap(self._full_from, n_frames, "disk")
        self.lost["disk"] += end - self._position
        self._position = end
        self._ring.release(end)
        return True
