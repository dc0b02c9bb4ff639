"""What goes to the card in a day, and when it is full; the same arithmetic for both sheets."""

from edge_probe.budget.figure import Figure, Tag
from edge_probe.capture.segment import Format
from edge_probe.disk.plan import Plan, Question, Span, plan

SEGMENT_S = 60.0
FLOOR_BYTES = 10**9
"""That `edge-probe run` leaves free."""

DAY_S = 86_400


def day_of(rate_hz: int, room_bytes: float) -> Plan:
    """A day of one channel, 16 bits, around the clock, all of it kept, closed segments as FLAC."""
    return plan(Question(1.0, Format(rate_hz, 1, 2), SEGMENT_S, "all", max(0, round(room_bytes))))


def pcm_bytes(rate_hz: int) -> int:
    """Of such a day."""
    return DAY_S * rate_hz * 2


def written(per_audio_byte: Span, rate_hz: int, day: Plan, tag: Tag, basis: str) -> Figure:
    """GB a day: recording and classifying, and then the FLAC of it.

    Parameters
    ----------
    per_audio_byte : Span
        Bytes written for a byte of audio, FLAC apart.
    rate_hz : int
    day : Plan
        Of `day_of`.
    tag, basis : str
        Of ``per_audio_byte``.
    """
    audio = pcm_bytes(rate_hz)
    low = audio * per_audio_byte.low + day.audio_bytes.low
    high = audio * per_audio_byte.high + day.audio_bytes.high
    return Figure(
        "written_a_day", low / 1e9, high / 1e9, tag,
        f"{basis}; and from all FLAC to none gets smaller",
    )  # fmt: skip


def full_after(day: Plan) -> Figure:
    """Days until the card is full."""
    low, high = day.full_days
    basis = f"{day.question.format.rate_hz} Hz, one channel, 16 bits, 24 h a day, nothing deleted"
    return Figure("card_full_after", low, high, "computed", basis)
