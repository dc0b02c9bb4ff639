"""The time behind a stream in which nothing was recorded: how long, and why, part by part."""

from collections.abc import Sequence
from typing import NamedTuple

from edge_probe.capture.ledger import Ledger, Stream
from edge_probe.schedule.hours import Hours


class Part(NamedTuple):
    """Frames of a stream that is over."""

    first_frame: int
    n_frames: int | None
    """None, of the last part only: no clock tells."""
    cause: str


def silence_after(
    ledger: Ledger, last: Stream, now_ns: int, boot: int, hours: Hours | None
) -> Sequence[Part]:
    """The silence between a stream and now.

    Parameters
    ----------
    ledger : Ledger
        Says why it began; if it does not, that was without a word.
    last : Stream
    now_ns : int
        Monotonic, of this boot.
    boot : int
        This one. How long a silence since an earlier one was only wall clocks tell.
    hours : Hours or None
        It is cut where the schedule turned, if the time is known.
    """
    begin, cause = 0, "power"
    if stretch := ledger.last_stretch(last.stream):
        begin = stretch.first_frame + (stretch.n_frames or 0)
        if stretch.n_frames is None and stretch.cause:
            cause = stretch.cause
    frame_ns = 1e9 / (last.format.rate_hz * (1 - last.drift))
    # From its last segment: the newest drift is not that of all the months before.
    frame, at_ns = ledger.newest_time(last)
    end = frame + round((now_ns - at_ns) / frame_ns) if last.boot == boot else None
    cuts = [(begin, cause)]
    if hours is not None and (end_utc_ns := hours.utc_ns(now_ns)) is not None:
        begin_ns = at_ns + round((begin - frame) * frame_ns)
        same = last.boot == boot
        begin_utc_ns = hours.utc_ns(begin_ns) if same else ledger.utc_ns(last.boot, begin_ns)
        if begin_utc_ns is not None and begin_utc_ns <= end_utc_ns:
            if end is None:
                end = begin + round((end_utc_ns - begin_utc_ns) / frame_ns)
            cuts = [
                (begin + round((utc_ns - begin_utc_ns) / frame_ns), why)
                for utc_ns, why in hours.parts(cause, begin_utc_ns, end_utc_ns)
            ]
    ends = [*(first for first, _ in cuts[1:]), end]
    return [
        Part(first, None if stop is None else max(0, stop - first), why)
        for (first, why), stop in zip(cuts, ends, strict=True)
    ]
