"""Quality against prototypes per class, and the bytes that these cost."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from edge_probe.errors import EdgeProbeError

Row = Mapping[str, Any]

KEYS = (
    "head", "bits", "prototypes_per_class", "quality", "sd", "prototype_bytes", "linear_bytes",
)  # fmt: skip

ENOUGH = 0.005
"""Half a point: a smaller head this near to the best is the better bargain."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"
DASHES = ("-", "--", ":")


def j_curve(rows: Sequence[Row]) -> Figure:
    """Draw quality (mean and deviation over seeds) and head bytes against J.

    Parameters
    ----------
    rows : sequence of mapping
        ``head`` (str), ``bits`` (int or "float"), ``prototypes_per_class`` (J), ``quality`` and
        ``sd`` (fractions of 1), ``prototype_bytes``, ``linear_bytes``; one curve for each head
        and bits.

    Returns
    -------
    matplotlib.figure.Figure
        Axes in this order: quality in percent, head size in KiB. The smallest J within half a
        point of the best of its curve has a ring; the legend says its quality and its size.

    Raises
    ------
    EdgeProbeError
        There are no rows, a key is missing, a quality is not a fraction, or one J comes twice.
    """
    curves = _curves(rows)
    figure = Figure(figsize=(8, 7), layout="constrained")
    quality, size = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for number, (name, curve) in enumerate(curves.items()):
        style = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": DASHES[number % len(DASHES)],
        }
        _draw(quality, size, name, curve, style)
    ticks = sorted({row["prototypes_per_class"] for row in rows})
    size.set_xscale("log")
    size.set_xticks(ticks, [str(tick) for tick in ticks])
    size.minorticks_off()
    size.set_yscale("log")
    size.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    size.yaxis.set_major_formatter("{x:g}")
    size.yaxis.set_minor_formatter(NullFormatter())
    size.set_xlabel("prototypes per class, J")
    size.set_ylabel("head size, KiB")
    quality.set_ylabel("quality, % (mean ± sd over seeds)")
    quality.set_title("Ring: the smallest J within half a point of the best", fontsize=11)
    quality.legend(loc="lower right", fontsize=9)
    for axes in (quality, size):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def smallest_enough(curve: Sequence[Row]) -> Row:
    """The row of the smallest J whose quality is within half a point of the best."""
    best = max(row["quality"] for row in curve)
    near = [row for row in curve if row["quality"] >= best - ENOUGH - 1e-12]
    return min(near, key=lambda row: int(row["prototypes_per_class"]))


def head_kib(row: Row) -> float:
    """Size of prototypes and linear layer together."""
    return float(row["prototype_bytes"] + row["linear_bytes"]) / 1024


def _curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by curve, each ascending in J."""
    for row in rows:
        missing = [key for key in KEYS if key not in row]
        if missing:
            raise EdgeProbeError(f"J curve: a row has no {', '.join(missing)}: {dict(row)}")
        if not 0 <= row["quality"] <= 1:
            raise EdgeProbeError(
                f"J curve: expected a quality from 0 to 1, found {row['quality']}",
                hint="give fractions, not percent",
            )
    if not rows:
        raise EdgeProbeError("J curve: no rows", hint="compare several numbers of prototypes first")
    ordered = sorted(rows, key=lambda row: (_name(row), row["prototypes_per_class"]))
    curves = {name: list(members) for name, members in groupby(ordered, key=_name)}
    for name, curve in curves.items():
        counts = [row["prototypes_per_class"] for row in curve]
        if len(set(counts)) < len(counts):
            raise EdgeProbeError(
                f"J curve: {name}: one J comes twice in {counts}",
                hint="give one row for each head, bits and J: the mean over seeds",
            )
    return curves


def _name(row: Row) -> str:
    bits = row["bits"]
    return f"{row['head']}, {bits}{'' if bits == 'float' else ' bit'}"


def _draw(
    quality: Axes, size: Axes, name: str, curve: Sequence[Row], style: Mapping[str, Any]
) -> None:
    """One curve in both axes, with a ring around the best bargain."""
    counts = [row["prototypes_per_class"] for row in curve]
    percent = [100 * row["quality"] for row in curve]
    deviation = [100 * row["sd"] for row in curve]
    chosen = smallest_enough(curve)
    at = (chosen["prototypes_per_class"], 100 * chosen["quality"])
    label = f"{name} (J = {at[0]}: {at[1]:.1f} %, {head_kib(chosen):.3g} KiB)"
    quality.errorbar(counts, percent, deviation, label=label, capsize=3, **style)
    size.plot(counts, [head_kib(row) for row in curve], **style)
    ring = {"marker": "o", "s": 200, "facecolors": "none", "edgecolors": style["color"]}
    quality.scatter(*at, linewidths=2, **ring)
    size.scatter(at[0], head_kib(chosen), linewidths=2, **ring)
