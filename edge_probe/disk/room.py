"""Room for the next segment: the quota of our own folder, the floor of free space, what may go.

Before each segment its bytes are added to what is there. What would be too much is deleted first,
oldest first, in this order: classified segments without a detection, those with one, those that
are not classified yet, and, only below the floor, those that hold sampled windows.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_probe.capture.ledger import DELETIONS_AT_ONCE, Ledger
from edge_probe.capture.segment import PART, remove_audio
from edge_probe.clock import Clock
from edge_probe.disk import rows
from edge_probe.disk.findings import Findings
from edge_probe.disk.reserve import Reserve, free_bytes
from edge_probe.disk.rows import Segment
from edge_probe.disk.sample import Sampler
from edge_probe.errors import StateError

_log = logging.getLogger(__name__)

KEEP = ("all", "sample+detections", "detections")

HELD = ("nothing", "detections", "unknown", "sample")
"""What segments hold, in the order they go."""

DRAW_S = 600.0
"""Samples are drawn so often, and before anything is deleted."""

RECOUNT_S = 3600.0
"""The audio folder is measured so often; in between what is added and deleted is counted."""

RETRY_S = 10.0
"""After there was no room: looking costs time."""

LOOKS_AT_ONCE = 2000
"""Segments looked at in one go, some seconds on a small board: the ring fills meanwhile."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner allows.

    Raises
    ------
    StateError
        An unknown policy, or bytes that make no sense.
    """

    keep: str
    """One of `KEEP`."""
    quota_bytes: int
    """Of all files in the state folder."""
    floor_bytes: int
    """That stay free on its disk, whoever fills it."""

    def __post_init__(self) -> None:
        if self.keep not in KEEP:
            raise StateError(
                f"keep: expected one of {', '.join(KEEP)}, found {self.keep}",
                hint="all deletes nothing, and recording stops when the disk is full",
            )
        if self.quota_bytes <= 0 or self.floor_bytes < 0:
            raise StateError(
                f"expected a quota above 0 bytes and a floor of at least 0, found"
                f" {self.quota_bytes} and {self.floor_bytes}",
                hint="the quota bounds the state folder, the floor what stays free beside it",
            )


class Room:
    """Keeps the disk within limits; `make` is the ``make_room`` of a `Store`.

    Parameters
    ----------
    state : Path
        State folder; it exists.
    limits : Limits
    clock : Clock
    findings : Findings
    sampler : Sampler, optional
        Protects its windows if ``keep`` is ``sample+detections``.
    free : callable, optional
        Free bytes on the disk of a folder.
    """

    def __init__(
        self,
        state: Path,
        limits: Limits,
        clock: Clock,
        findings: Findings,
        sampler: Sampler | None = None,
        *,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._state = state
        self._audio = state / "audio"
        self._limits = limits
        self._clock = clock
        self._findings = findings
        self._sampler = sampler
        self._free = free
        self._reserve = Reserve(state, free)
        self._n_audio: int | None = None  # bytes of closed segments; None: to be measured
        self._counted = rows.ORIGIN  # segments up to here are in it
        self._passed: dict[str, tuple[int, int]] = {}  # before it none that holds this is left
        self._n_looks = 0  # left for this time
        self._measured_ns = self._drawn_ns = 0
        self._full_until_ns: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether recording stopped for want of room."""
        return self._full_until_ns is not None

    @property
    def n_bytes(self) -> int:
        """Of closed segments, as counted last."""
        return self._n_audio or 0

    def prepare(self) -> None:
        """Before a store is opened: see that the ledger can be written.

        Raises
        ------
        OSError
            The disk fails.
        """
        self._reserve.settle()

    def make(self, ledger: Ledger, n_bytes: int) -> bool:
        """Delete what has to go before so many bytes are added.

        Parameters
        ----------
        ledger : Ledger
            Not in a transaction.
        n_bytes : int

        Returns
        -------
        bool
            Whether there is room now; if there may be some, but much has to be looked at, it is
            to be asked again.

        Raises
        ------
        OSError, sqlite3.Error
            The disk fails. What was noted as deleted is deleted by recovery.
        """
        now_ns = self._clock.monotonic_ns()
        if self._full_until_ns is not None and now_ns < self._full_until_ns:
            return False
        self._findings.look_again()
        try:
            self._reserve.settle()
            self._draw(ledger, now_ns)
            over, below = self._lacking(ledger, now_ns, n_bytes)
            if max(over, below) > 0 and self._limits.keep != "all":
                self.draw(ledger)
                self._n_looks = LOOKS_AT_ONCE
                freed = self._delete(ledger, over, below)
                over, below = over - freed, below - freed
                if max(over, below) > 0 and self._n_looks == 0:
                    return False  # neither full nor not: the next call goes on from here
        except BaseException:
            self._n_audio, self._passed = None, {}
            raise
        return self._judge(over, below, now_ns)

    def draw(self, ledger: Ledger) -> None:
        """Draw samples from what was recorded since the last time.

        What is left when a recorder ends is drawn from by the next one in the same folder.

        Raises
        ------
        sqlite3.Error
            The ledger fails.
        """
        if self._sampler is not None:
            self._sampler.draw(ledger)

    def _draw(self, ledger: Ledger, now_ns: int) -> None:
        if now_ns - self._drawn_ns >= DRAW_S * 1e9:
            self.draw(ledger)
            self._drawn_ns = now_ns

    def _judge(self, over: int, below: int, now_ns: int) -> bool:
        if max(over, below) <= 0:
            if self._full_until_ns is not None:
                _log.warning("there is room again: recording goes on")
            self._full_until_ns = None
            return True
        if self._full_until_ns is None:
            _log.error(
                "recording stops, there is no room: %d bytes over the quota, %d below the floor,"
                " and nothing that may be deleted (keep = %s)",
                max(0, over), max(0, below), self._limits.keep,
            )  # fmt: skip
        self._full_until_ns = now_ns + round(RETRY_S * 1e9)
        return False

    def _lacking(self, ledger: Ledger, now_ns: int, n_bytes: int) -> tuple[int, int]:
        """Bytes above the quota and below the floor, once the next segment is written."""
        n_audio = self._count(ledger, now_ns)
        over = self._others() + n_audio + n_bytes - self._limits.quota_bytes
        return over, self._limits.floor_bytes + n_bytes - self._free(self._state)

    def _count(self, ledger: Ledger, now_ns: int) -> int:
        """Bytes in the audio folder, with those of the segment that grows."""
        db = ledger.connection
        newest = rows.newest_segment(db)
        grows = newest is not None and not newest[2]
        growing = _size(self._audio / (newest[1] + PART)) if newest and grows else 0
        if self._n_audio is None or now_ns - self._measured_ns >= RECOUNT_S * 1e9:
            with os.scandir(self._audio) as entries:
                self._n_audio = sum(_size(entry) for entry in entries) - growing
            self._measured_ns = now_ns
            self._counted = newest[0] if newest else rows.ORIGIN
            if newest and grows:
                self._counted = newest[0][0], newest[0][1] - 1
        for segment in rows.segments_after(db, self._counted):
            self._n_audio += segment.n_bytes
            self._counted = segment.place
        return self._n_audio + growing

    def _others(self) -> int:
        """Bytes of everything else in the state folder."""
        total = 0
        for folder, inner, names in os.walk(self._state):
            if Path(folder) == self._state and "audio" in inner:
                inner.remove("audio")
            total += sum(_size(Path(folder) / name) for name in names)
        return total

    def _delete(self, ledger: Ledger, over: int, below: int) -> int:
        """Delete until nothing is lacking or nothing may go; the bytes that were freed."""
        freed = 0
        for held in HELD:
            wanted = below if held == "sample" else max(over, below)
            while freed < wanted and (oldest := self._oldest(ledger, held, wanted - freed)):
                reason = "floor" if freed < below else "quota"
                moment = self._clock.boot(), self._clock.monotonic_ns(), self._clock.utc_ns()
                with ledger.transaction():
                    rows.add_deletions(ledger.connection, oldest, reason, held, moment)
                remove_audio(self._audio, [segment.name for segment in oldest])
                n_bytes = sum(segment.n_bytes for segment in oldest)
                self._n_audio = (self._n_audio or 0) - n_bytes
                freed += n_bytes
            if self._n_looks == 0:
                break  # what comes next in the order has to wait
        return freed

    def _oldest(self, ledger: Ledger, held: str, n_bytes: int) -> list[Segment]:
        """The oldest segments of a kind: enough of them, or as many as may go at once."""
        found: list[Segment] = []
        last = self._passed.get(held, rows.ORIGIN)
        for segment in rows.segments_after(ledger.connection, last):
            if n_bytes <= 0 or len(found) == DELETIONS_AT_ONCE or self._n_looks == 0:
                break
            self._n_looks -= 1
            holds = self._held(ledger, segment)
            is_early = holds == "unknown" and held in ("nothing", "detections")
            if is_early and not self._findings.is_lost(segment):
                last = segment.stream, segment.first_frame - 1
                break  # what comes later is not classified either
            if holds == held:
                found.append(segment)
                n_bytes -= segment.n_bytes
            last = segment.place
        if held != "sample":  # others may yet become that
            self._passed[held] = last
        return found

    def _held(self, ledger: Ledger, segment: Segment) -> str:
        """What a segment holds, one of `HELD`."""
        db, sampler = ledger.connection, self._sampler
        if self._limits.keep == "sample+detections" and rows.holds_sample(db, segment):
            return "sample"
        if sampler is not None and not sampler.is_drawn(db, segment):
            return "unknown"
        return self._findings.held(segment)


def _size(path: Path | os.DirEntry[str]) -> int:
    """Bytes of a file; 0 if another thread or program has just renamed or removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
