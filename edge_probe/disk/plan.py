"""What days of recording will do to a card, before anybody walks into the forest.

Nothing here was measured on the card in question unless the caller says so: what is not known is a
range, and each day that follows from it is one too.
"""

from dataclasses import dataclass
from typing import NamedTuple

from edge_probe.capture.segment import Format
from edge_probe.disk.sample import Design
from edge_probe.errors import StateError
from edge_probe.source.wav import HEADER_BYTES

_DAY_S = 86_400
_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))

_FLAC_LEAST = 0.28
"""FLAC over PCM of 16 bits: the least of 128 field recordings (median 0.41, most 0.78)."""

_LEDGER_BYTES = 400
"""Of capture.sqlite for a segment, rows and indices (measured: 320)."""

_DETECTION_BYTES = (0, 15_000_000)
"""Of detections.sqlite a day, from no classifier to every window of 3 s (computed)."""


class Span(NamedTuple):
    """A figure that is only known to lie between two."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Question:
    """What is planned."""

    days: float
    format: Format
    segment_s: float
    keep: str
    """One of `edge_probe.disk.room.KEEP`."""
    room_bytes: int
    """For the state folder to grow: what quota and floor leave."""
    schedule_share: float = 1.0
    """Of the day in which is recorded, above 0."""
    flac: bool = True
    flac_share: Span | None = None
    """FLAC over PCM as measured on this card; None: not measured."""
    detection_share: Span | None = None
    """Of the segments that hold a detection; None: nobody knows, from none to all."""
    design: Design | None = None
    """Of the sample."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What comes of it."""

    question: Question
    audio_bytes: Span
    """A day."""
    database_bytes: Span
    """A day."""
    full_days: Span
    """Until the card is full, if nothing is deleted."""
    kept_share: Span
    """Of the segments that the policy would rather keep."""

    @property
    def deletes(self) -> bool:
        """Whether audio may have to be deleted within the planned days."""
        return self.question.keep != "all" and self.full_days.low < self.question.days

    @property
    def recent_days(self) -> Span:
        """Days of unselected audio that stay at the end, beside what is kept of all days."""
        days = self.question.days
        ends = []
        for audio, database, kept in zip(
            self.audio_bytes, self.database_bytes, self.kept_share, strict=True
        ):
            room = self.question.room_bytes - database * days
            if kept < 1:
                ends.append((room - kept * audio * days) / ((1 - kept) * audio))
            else:
                ends.append(room / audio)
        low, high = sorted(max(0.0, min(days, end)) for end in ends)
        return Span(low, high)


def plan(question: Question) -> Plan:
    """Work it out.

    Raises
    ------
    StateError
        Days, share or segment make no sense.
    """
    format_ = question.format
    if question.days <= 0 or question.segment_s <= 0 or not 0 < question.schedule_share <= 1:
        raise StateError(
            f"expected days and a segment above 0 and a share of the day of at most 1, found"
            f" {question.days}, {question.segment_s} and {question.schedule_share}",
            hint="a schedule of 6 h a day is a share of 0.25",
        )
    recorded_s = _DAY_S * question.schedule_share
    pcm_bytes = recorded_s * format_.rate_hz * format_.frame_bytes
    n_segments = recorded_s / question.segment_s
    shrink = _shrink(question)
    audio = Span(*(pcm_bytes * share + n_segments * HEADER_BYTES for share in shrink))
    database = Span(*(n_segments * _LEDGER_BYTES + more for more in _DETECTION_BYTES))
    full = Span(
        question.room_bytes / (audio.high + database.high),
        question.room_bytes / (audio.low + database.low),
    )
    return Plan(question, audio, database, full, _kept(question))


def _shrink(question: Question) -> Span:
    """FLAC over PCM. The upper end is PCM itself: FLAC waits while the classifier is busy."""
    n_bytes = question.format.sample_bytes
    if not question.flac or n_bytes == 4:
        return Span(1.0, 1.0)
    if question.flac_share is not None:
        return question.flac_share
    low = _FLAC_LEAST
    if n_bytes == 3:  # the eight bits below are noise, which nothing makes smaller
        low = (2 * low + 1) / 3
    return Span(low, 1.0)


def _kept(question: Question) -> Span:
    if question.keep == "all":
        return Span(1.0, 1.0)
    sampled = 0.0
    if question.keep == "sample+detections" and question.design is not None:
        design = question.design
        n_windows = question.segment_s / design.window_s
        sampled = 1 - (1 - design.probability) ** max(1.0, n_windows)
    return Span(
        *(sampled + (1 - sampled) * share for share in question.detection_share or (0.0, 1.0))
    )


def require_acceptance(made: Plan, accepted: bool) -> None:
    """Refuse a plan that deletes audio unless somebody said that it may.

    Raises
    ------
    StateError
        It was not accepted.
    """
    if made.deletes and not accepted:
        raise StateError(
            f"within {made.question.days:g} days audio may be deleted: the card is full after"
            f" {_days(made.full_days)}",
            hint="a larger card, fewer hours a day, or --accept-deletion",
        )


def describe(made: Plan) -> list[str]:
    """Lines for people."""
    question, format_ = made.question, made.question.format
    lines = [
        f"{format_.rate_hz} Hz, {format_.n_channels} channel(s), {8 * format_.sample_bytes} bits,"
        f" {24 * question.schedule_share:g} h a day, room for {size(question.room_bytes)}",
        f"audio a day: {_sizes(made.audio_bytes)}{_flac_note(question)}",
        f"databases a day: {_sizes(made.database_bytes)} (computed)",
        f"the card is full after {_days(made.full_days)}",
    ]
    if made.full_days.low >= question.days:
        return [*lines, f"all of the {question.days:g} days stays"]
    if question.keep == "all":
        return [*lines, "keep = all: nothing is deleted; recording stops on that day"]
    shares = " to ".join(dict.fromkeys(f"{100 * share:.0f} %" for share in made.kept_share))
    return [
        *lines,
        f"keep = {question.keep}: {shares} of the audio is what it keeps as long as it can",
        f"on day {question.days:g} there are: that, if it fits, and all of the last"
        f" {_days(made.recent_days)}",
        "audio may be deleted: this needs --accept-deletion",
    ]


def _flac_note(question: Question) -> str:
    if not question.flac:
        return ""
    if question.format.sample_bytes == 4:
        return " (32 bits stay WAV)"
    if question.flac_share is not None:
        return " (FLAC, as measured on this card)"
    return " (from all FLAC to all WAV; not measured on this card yet)"


def size(n_bytes: float) -> str:
    """Bytes with three digits, decimal units as on the label of a card."""
    for unit, name in _UNITS:
        if n_bytes >= unit:
            return f"{n_bytes / unit:.3g} {name}"
    return f"{n_bytes:.0f} bytes"


def _sizes(span: Span) -> str:
    return " to ".join(dict.fromkeys(size(value) for value in span))


def _days(span: Span) -> str:
    return " to ".join(dict.fromkeys(f"{value:.1f}" for value in span)) + " days"
