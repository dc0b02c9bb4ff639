"""Scores of one bundle over those of the other, as a PNG: a panel for each class."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from edge_probe.desk.diff.compare import Comparison
from edge_probe.desk.diff.tally import EDGES
from edge_probe.desk.picture import plain

MOST_PANELS = 12
"""Those classes on which they disagree most."""

_COLUMNS, _PANEL_INCHES, _DPI = 4, 3.0, 100
_LINE = "#56B4E9"


def scatter(found: Comparison, path: Path) -> None:
    """Draw it.

    Windows are counted in squares of the scores, as there may be millions; lines are the thresholds
    of the bundles.

    Raises
    ------
    OSError
        The disk fails.
    """
    counts = found.tally.counts
    order = sorted(range(len(counts)), key=lambda n: (-int(counts[n, 1:].sum()), n))[:MOST_PANELS]
    n_columns = min(_COLUMNS, len(order))
    n_rows = -(-len(order) // n_columns)
    size = (_PANEL_INCHES * n_columns, _PANEL_INCHES * n_rows + 0.4)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    norm = LogNorm(1, max(2, found.tally.n_windows))
    for number, n in enumerate(order, 1):
        axes = figure.add_subplot(n_rows, n_columns, number)
        _panel(axes, found, n, norm)
    names = [plain(side.bundle.id) for side in found.sides.both]
    figure.supxlabel(f"score of A, {names[0]}", fontsize=9)
    figure.supylabel(f"score of B, {names[1]}", fontsize=9)
    with warnings.catch_warnings():  # letters that the font lacks are boxes
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        canvas.print_png(path)


def _panel(axes: Axes, found: Comparison, n: int, norm: LogNorm) -> None:
    seen = np.ma.masked_equal(found.tally.scores[n].T, 0)
    axes.pcolormesh(EDGES, EDGES, seen, norm=norm, cmap="viridis_r")
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=0.5, zorder=0)
    a, b = (float(side.scores(side.thresholds)[n]) for side in found.sides.both)
    axes.axvline(a, color=_LINE, linewidth=0.8)
    axes.axhline(b, color=_LINE, linewidth=0.8)
    both, only_a, only_b = found.tally.counts[n].tolist()
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.tick_params(labelsize=7)
    label = plain(found.sides.labels[n], 34)
    axes.set_title(f"{label}\nboth {both}, only A {only_a}, only B {only_b}", fontsize=8)
