"""What is told of a comparison: facts for JSON, tables for CSV, lines for people."""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from edge_probe.desk.diff.compare import Comparison
from edge_probe.desk.diff.sides import Side
from edge_probe.desk.diff.tally import agreement

REVIEW = (
    "apart", "label", "heard_by", "score_a", "score_b", "logit_a", "logit_b", "n_windows",
    "file", "start_s", "end_s", "deployment_id", "boot", "stream", "channel", "start_sample",
    "end_sample", "rate_hz", "start_utc",
)  # fmt: skip
"""Columns of review.csv; names are those of `edge-probe results --format jsonl`."""

_MAX_SHOWN = 5
"""Labels that only one bundle has; all are in diff.json."""


def facts(found: Comparison) -> dict[str, object]:
    """All but the review list and what comes of other thresholds."""
    return {
        "a": _side(found.sides.a),
        "b": _side(found.sides.b),
        "windows_of": "ab"[found.measure],
        "n_windows": found.tally.n_windows,
        "audio_s": round(found.audio_s, 3),
        "n_stretches_too_short": found.n_short,
        "broken_off": [error.message for error in found.problems],
        "classes": list(_classes(found)),
    }


def _side(side: Side) -> dict[str, object]:
    return {
        "bundle": side.bundle.id,
        "bundle_sha256": side.bundle.sha256,
        "window_s": float(side.timing.window_s),
        "hop_s": float(side.timing.hop_s),
        "calibrated": side.bundle.calibration is not None,
        "only_here": list(side.only_here),
    }


def _classes(found: Comparison) -> Iterator[dict[str, object]]:
    """In the order of disagreement."""
    a, b = found.sides.both
    counts = found.tally.counts
    order = sorted(range(len(counts)), key=lambda n: (-int(counts[n, 1:].sum()), n))
    for n in order:
        both, only_a, only_b = counts[n].tolist()
        yield {
            "label": found.sides.labels[n],
            "both": both,
            "only_a": only_a,
            "only_b": only_b,
            "neither": found.tally.n_windows - both - only_a - only_b,
            "agreement": _rounded(agreement(counts[n])),
            "threshold_a": float(a.thresholds[n]),
            "threshold_b": float(b.thresholds[n]),
        }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def write_tables(found: Comparison, folder: Path) -> None:
    """Write ``diff.json``, ``classes.csv``, ``agreement.csv`` and ``review.csv``.

    Raises
    ------
    OSError
        The disk fails.
    """
    told = facts(found)
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "diff.json").write_text(text, encoding="utf-8")
    classes = list(_classes(found))
    _write(folder / "classes.csv", tuple(classes[0]), (row.values() for row in classes))
    header = ("label", "score", "both", "only_a", "only_b", "neither", "agreement")
    _write(folder / "agreement.csv", header, _agreements(found))
    _write(folder / "review.csv", REVIEW, _review(found))


def _write(path: Path, header: Sequence[str], rows: Iterator[object]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)  # type: ignore[arg-type]


def _agreements(found: Comparison) -> Iterator[list[object]]:
    of_score = found.tally.at_scores()
    for n, label in enumerate(found.sides.labels):
        for score, counts in of_score.items():
            neither = found.tally.n_windows - int(counts[n].sum())
            share = _rounded(agreement(counts[n]))
            yield [label, f"{score:.2f}", *counts[n].tolist(), neither, share]


def _review(found: Comparison) -> Iterator[list[object]]:
    for one in found.review:
        said, place = one.said, one.place
        scores = (said.score_a, said.score_b, said.logit_a, said.logit_b)
        yield [
            f"{said.apart:.6f}", one.label, said.heard_by, *(f"{n:.6f}" for n in scores),
            one.n_windows, place.file, f"{place.start_s:.6f}", f"{place.end_s:.6f}",
            place.deployment_id, place.boot, place.stream, place.channel, place.start_sample,
            place.end_sample, place.rate_hz, _utc(place.start_utc),
        ]  # fmt: skip


def _utc(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def lines(found: Comparison) -> Iterator[str]:
    """For people."""
    for name, side in zip("AB", found.sides.both, strict=True):
        timing = side.timing
        yield (
            f"{name:8}  {side.bundle.id}, windows of {float(timing.window_s):g} s every"
            f" {float(timing.hop_s):g} s"
        )
    own, other = "AB" if found.measure == 0 else "BA"
    yield f"windows   {found.tally.n_windows} of {own}; of {other} the highest within each"
    yield f"audio     {found.audio_s / 60:.1f} min"
    yield f"classes   {len(found.sides.labels)} in both{_only(found)}"
    yield ""
    yield "   both  only A  only B  neither  agreement  label"
    for row in _classes(found):
        share = "-" if row["agreement"] is None else f"{row['agreement']:.3f}"
        yield (
            f"{row['both']:7}{row['only_a']:8}{row['only_b']:8}{row['neither']:9}{share:>11}"
            f"  {row['label']}"
        )


def _only(found: Comparison) -> str:
    told = ""
    for name, side in zip("AB", found.sides.both, strict=True):
        if side.only_here:
            more = len(side.only_here) - _MAX_SHOWN
            shown = ", ".join(side.only_here[:_MAX_SHOWN]) + (f" and {more} more" * (more > 0))
            told += f"; not compared, in {name} only: {shown}"
    return told
