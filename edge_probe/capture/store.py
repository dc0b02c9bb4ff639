"""The disk side of capture: segments and ledger, always changed together."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from edge_probe.capture.ledger import Ledger, Stream
from edge_probe.capture.rebuild import open_ledger
from edge_probe.capture.recovery import Remains
from edge_probe.capture.segment import Format, Place, SegmentFile, sync_folder
from edge_probe.capture.silence import Part, silence_after
from edge_probe.clock import Clock
from edge_probe.health.row import Row
from edge_probe.schedule.hours import Hours
from edge_probe.source.wav import HEADER_BYTES

MakeRoom = Callable[[Ledger, int], bool]
"""Makes room for so many bytes of the next segment, and says whether there is; it may delete
segments and note that in the ledger."""


class Timing(NamedTuple):
    """What is known of the times of a stream; monotonic."""

    opened_ns: int
    """Of frame 0."""
    now_ns: int
    """Of the next frame to be stored."""
    drift: float
    """Fitted, as a fraction."""


class Store:
    """Segments and ledger in a state folder; what a crash left there is put in order first.

    Parameters
    ----------
    folder : Path
        Holds ``audio/`` and ``capture.sqlite``; they are made if they are not there.
    clock : Clock
    remains : Remains, optional
        What `abandon` of the store before returned.
    make_room : callable, optional
        Asked before each segment; without it there is always room.
    health : deque of Row, optional
        Rows wait there for the next transaction, so that they cost none of their own; any thread
        may add to it. Those of a transaction that fails come back.
    hours : Hours, optional
        When there is something to record; without them always.

    Raises
    ------
    OSError, sqlite3.Error
        From any method: the disk fails, and nothing of that call is acknowledged. The store is
        then good for `abandon` only.
    StateError
        The ledger is of a newer version.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        remains: Remains | None = None,
        *,
        make_room: MakeRoom | None = None,
        health: deque[Row] | None = None,
        hours: Hours | None = None,
    ) -> None:
        audio = folder / "audio"
        if not audio.is_dir():
            audio.mkdir(parents=True)
            sync_folder(folder)
        self._audio = audio
        self._clock = clock
        self._make_room = make_room
        self._health = health if health is not None else deque()
        self._hours = hours
        self._uncut: tuple[Stream, int] | None = None  # stream of a gap, and when the gap ended
        self._stream = 0
        self._format = Format(0, 0, 0)
        self._place: Place | None = None
        self.segment: SegmentFile | None = None
        """The one that grows."""
        self.noted_ns = clock.monotonic_ns()
        """Monotonic time of the last transaction, or of the opening."""
        self._ledger = open_ledger(folder, remains or Remains())
        try:
            self.boot = self._ledger.boot(clock.boot())
            """Number of this boot of the machine."""
        except BaseException:
            self._ledger.close()
            raise

    def begin_stream(self, device: str, format_: Format, opened_ns: int) -> int:
        """Note that a microphone was opened and return the number of the stream.

        What lies between the stream before and this one becomes a gap of the one before.

        Parameters
        ----------
        device : str
            Identity of the microphone.
        format_ : Format
        opened_ns : int
            Monotonic time of frame 0.
        """
        with self._between_segments():
            if last := self._ledger.last_stream():
                self._bridge(last, opened_ns)
                self._uncut = self._if_uncut(last, opened_ns)
            stream = self._ledger.add_stream(self.boot, device, format_, opened_ns)
        self._stream, self._format = stream, format_
        return stream

    def continue_stream(
        self, stream: int, device: str, format_: Format, opened_ns: int, first_frame: int
    ) -> None:
        """Go on with a stream that an abandoned store began.

        Parameters
        ----------
        stream : int
        device, format_, opened_ns
            As for `begin_stream`.
        first_frame : int
            The next one. What a ledger that was begun anew meanwhile does not know of those before
            becomes a gap.
        """
        self._stream, self._format = stream, format_
        if before := self._ledger.stream(stream - 1):
            self._uncut = self._if_uncut(before, opened_ns)
        known = self._ledger.stream(stream)
        if known is not None and known.boot == self.boot:
            return
        with self._between_segments():
            self._ledger.take_up_stream(stream, self.boot, device, format_, opened_ns)
            end = self._ledger.end_frame(stream)
            if end < first_frame:
                self._ledger.put_gap(stream, end, first_frame - end, "power")

    def turn(self, cause: str) -> None:
        """Note that from now on it is for this cause that nothing is recorded.

        The gap after the last stream ends now, and another one begins. Of an earlier boot it ends
        only if clocks can tell when.

        Parameters
        ----------
        cause : str
            One of `CAUSES`.
        """
        last = self._ledger.last_stream()
        if last is None:
            return
        stretch = self._ledger.last_stretch(last.stream)
        if stretch is not None and stretch.cause == cause:
            return
        parts = self._silence(last, self._clock.monotonic_ns())
        if (n_frames := parts[-1].n_frames) is None:
            return
        with self._between_segments():
            for part in parts:
                self._ledger.put_gap(last.stream, *part)
            self._ledger.put_gap(last.stream, parts[-1].first_frame + n_frames, None, cause)

    def _silence(self, last: Stream, now_ns: int) -> Sequence[Part]:
        return silence_after(self._ledger, last, now_ns, self.boot, self._hours)

    def _bridge(self, last: Stream, now_ns: int) -> None:
        """Let the gap after a stream end now; one that has none ended without a word.

        After another boot its length is left to readers: the wall clocks that tell it may yet
        improve.
        """
        *parts, end = self._silence(last, now_ns)
        for part in parts:
            self._ledger.put_gap(last.stream, *part)
        n_frames = end.n_frames if last.boot == self.boot else None
        self._ledger.put_gap(last.stream, end.first_frame, n_frames, end.cause)

    def _if_uncut(self, last: Stream, opened_ns: int) -> tuple[Stream, int] | None:
        """What is to be cut later: after another boot the time may not be known yet."""
        is_to_wait = self._hours is not None and not self._hours.is_known
        return (last, opened_ns) if is_to_wait and last.boot != self.boot else None

    def end_stream(self, end_frame: int, cause: str, timing: Timing) -> None:
        """Note that nothing more comes, and why; what follows is a gap until another begins.

        Parameters
        ----------
        end_frame : int
            Behind the last frame or gap.
        cause : str
            One of `CAUSES`.
        timing : Timing
        """
        with self._between_segments():
            self._ledger.set_timing(self._stream, timing.opened_ns, timing.drift)
            self._ledger.put_gap(self._stream, end_frame, None, cause)

    def begin_segment(self, first_frame: int, n_planned: int, timing: Timing) -> SegmentFile | None:
        """Close the segment before, if there is one, and begin the next.

        Parameters
        ----------
        first_frame : int
        n_planned : int
            Frames, if nothing intervenes.
        timing : Timing

        Returns
        -------
        SegmentFile or None
            None: there is no room on the disk by the owner's rules, and nothing was changed.
        """
        n_bytes = HEADER_BYTES + n_planned * self._format.frame_bytes
        if self._make_room and not self._make_room(self._ledger, n_bytes):
            return None
        place = Place(self.boot, self._stream, first_frame)
        path = self._audio / place.file_name(self._compact_utc())
        with self._between_segments():
            self._ledger.begin_segment(place, timing.now_ns, path.name)
            self._ledger.set_timing(self._stream, timing.opened_ns, timing.drift)
        self._place, self.segment = place, SegmentFile(path, self._format, n_planned)
        return self.segment

    def gap(self, first_frame: int, n_frames: int, cause: str) -> None:
        """Note frames that are missing; the segment before them ends.

        Parameters
        ----------
        first_frame, n_frames : int
        cause : str
            One of `CAUSES`.
        """
        with self._between_segments():
            self._ledger.put_gap(self._stream, first_frame, n_frames, cause)

    def keep_health(self) -> None:
        """Bring the rows of health that wait to the disk; the segment goes on."""
        with self._transaction():
            pass

    def abandon(self) -> Remains:
        """Let go after a failure."""
        self._ledger.close()
        if self.segment is None or self._place is None:
            return Remains()
        self.segment.abandon()
        return Remains({(self._place.stream, self._place.first_frame): self.segment.n_synced})

    def close(self) -> None:
        """Let go of a store whose streams have ended."""
        self._ledger.shorten_log()
        self._ledger.close()

    @contextmanager
    def _between_segments(self) -> Iterator[None]:
        """Close the file that grows, then change the ledger in one transaction, its row first."""
        if self.segment is not None:
            self.segment.close()
        with self._transaction():
            if self.segment is not None and self._place is not None:
                self._ledger.close_segment(self._place, self.segment.n_frames)
            if self._uncut is not None and self._hours is not None and self._hours.is_known:
                self._bridge(*self._uncut)
                self._uncut = None
            yield
        self.segment = self._place = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One of the ledger, with the clocks and what is known of health by now."""
        clock, ledger = self._clock, self._ledger
        rows = [self._health.popleft() for _ in range(len(self._health))]
        try:
            with ledger.transaction():
                ledger.add_anchor(self.boot, clock.monotonic_ns(), clock.utc_ns(), clock.trust())
                ledger.add_health(self.boot, rows)
                yield
        except BaseException:
            self._health.extendleft(reversed(rows))
            raise
        self.noted_ns = clock.monotonic_ns()

    def _compact_utc(self) -> str:
        if self._clock.trust() == "unset":
            return "unset"
        return f"{datetime.fromtimestamp(self._clock.utc_ns() // 10**9, UTC):%Y%m%dT%H%M%SZ}"
