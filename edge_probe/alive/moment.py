"""When something was, as far as is known now."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.database import read

_TRUST = ("unset", "rtc", "ntp", "gps", "manual")
"""Rising."""

_NEAREST = 200
"""Readings of the clock looked at before and after a frame: some hours' worth."""


@dataclass(frozen=True, slots=True)
class Moment:
    """By a clock that never jumps, and by the one on the wall."""

    boot: int
    monotonic_ns: int
    utc: str | None
    """RFC 3339; None where the clock was not set."""
    trust: str


def dates_of(state: Path) -> Callable[[int, int], date | None]:
    """The UTC date of (stream, frame) as known at the moment of asking; None: the clock is unset.

    Parameters
    ----------
    state : Path
        State folder.
    """

    def date_of(stream: int, frame: int) -> date | None:
        moment = read(
            state / "capture.sqlite",
            lambda ledger: moment_of(ledger, stream, frame),
            CAPTURE_VERSION,
        )
        return datetime.fromisoformat(moment.utc).date() if moment and moment.utc else None

    return date_of


def moment_of(capture: sqlite3.Connection, stream: int, frame: int) -> Moment | None:
    """The moment of a frame; None for a stream that is not in the ledger.

    Parameters
    ----------
    capture : Connection
        To ``capture.sqlite``.
    stream, frame : int
    """
    row = capture.execute(
        "SELECT boot, opened_ns, rate_hz, drift FROM stream WHERE stream = ?", (stream,)
    ).fetchone()
    if row is None:
        return None
    boot, opened_ns, rate_hz, drift = row
    segment = capture.execute(
        "SELECT first_frame, began_ns FROM segment WHERE stream = ? AND first_frame <= ?"
        " ORDER BY first_frame DESC LIMIT 1",
        (stream, frame),
    ).fetchone()
    known_frame, known_ns = segment or (0, opened_ns)
    since_s = (frame - known_frame) / (rate_hz * (1 - drift))
    return moment_at(capture, boot, known_ns + round(since_s * 1e9))


def moment_at(capture: sqlite3.Connection, boot: int, monotonic_ns: int) -> Moment:
    """A moment of a boot, by the best reading of the clock near it.

    What is told at once cannot wait for a better reading; the desk's tools do, and may know better
    afterwards. So only readings near by are looked at, and months of them cost nothing.

    Parameters
    ----------
    capture : Connection
        To ``capture.sqlite``.
    boot, monotonic_ns : int
    """
    trust, _, offset_ns = max(_anchors(capture, boot, monotonic_ns), default=(0, 0, 0))
    if trust == 0:
        return Moment(boot, monotonic_ns, None, "unset")
    utc = datetime.fromtimestamp((monotonic_ns + offset_ns) / 1e9, UTC)
    text = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Moment(boot, monotonic_ns, text, _TRUST[trust])


def _anchors(
    capture: sqlite3.Connection, boot: int, monotonic_ns: int
) -> Sequence[tuple[int, int, int]]:
    """Readings near a moment: trust, nearness, and UTC minus monotonic time in ns."""
    found = []
    for side, order in (("<=", "DESC"), (">", "ASC")):
        rows = capture.execute(
            "SELECT trust, monotonic_ns, utc_ns FROM clock_anchor"
            f" WHERE boot = ? AND monotonic_ns {side} ? ORDER BY monotonic_ns {order} LIMIT ?",
            (boot, monotonic_ns, _NEAREST),
        )
        for trust, at_ns, utc_ns in rows:
            found.append((_TRUST.index(trust), -abs(at_ns - monotonic_ns), utc_ns - at_ns))
    return found
