"""Write annotations as Raven and Audacity do."""

from collections.abc import Sequence
from pathlib import Path

from export.clips.annotation import Annotation

RAVEN_HEADER = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
                "High Freq (Hz)", "Annotation")  # fmt: skip


def write_raven(table: Path, annotations: Sequence[Annotation]) -> None:
    """Every selection once per view."""
    lines = ["\t".join(RAVEN_HEADER)]
    for number, a in enumerate(annotations, 1):
        for view in ("Waveform 1", "Spectrogram 1"):
            band = ["" if edge is None else repr(edge) for edge in (a.low_hz, a.high_hz)]
            times = [repr(a.start_s), repr(a.end_s)]
            lines.append("\t".join([str(number), view, "1", *times, *band, a.label]))
    table.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\r\n")


def write_audacity(table: Path, annotations: Sequence[Annotation]) -> None:
    """Bands on lines of their own, -1 for an edge that was not selected."""
    lines = []
    for a in annotations:
        lines.append(f"{a.start_s!r}\t{a.end_s!r}\t{a.label}")
        if (a.low_hz, a.high_hz) != (None, None):
            band = [-1.0 if edge is None else edge for edge in (a.low_hz, a.high_hz)]
            lines.append(f"\\\t{band[0]!r}\t{band[1]!r}")
    table.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
