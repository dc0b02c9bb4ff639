"""What the pictures are drawn with: a sheet of paper, boxes and arrows."""

from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, PALE, LINE = "#1f2933", "#eef2f5", "#8795a1"
BLUE, GREEN, ORANGE, RED = "#2563a8", "#2f855a", "#c05621", "#b83232"

mpl.use("svg")
mpl.rcParams |= {
    "svg.fonttype": "path", "svg.hashsalt": "edge-probe", "font.size": 9, "text.color": INK,
    "axes.edgecolor": LINE, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
}  # fmt: skip


def board(width: float, height: float) -> tuple[Figure, Axes]:
    """A sheet without axes, in units of a tenth of an inch."""
    figure = plt.figure(figsize=(width / 10, height / 10))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str,
    colour: str = INK, fill: str = PALE,
) -> None:  # fmt: skip
    """A box with its text in the middle; x, y is its lower left corner."""
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch(
        (x, y), width, height, boxstyle=style, facecolor=fill, edgecolor=colour, linewidth=1.2
    ))  # fmt: skip
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", linespacing=1.35)


def arrow(
    axes: Axes, begin: tuple[float, float], end: tuple[float, float], bend: float = 0
) -> None:
    """From a point to another."""
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "shrinkA": 1, "shrinkB": 1}
    if bend:
        style["connectionstyle"] = f"arc3,rad={bend}"
    axes.annotate("", end, begin, arrowprops=style)


def chain(
    axes: Axes, y: float, texts: Sequence[str], x: float, widths: Sequence[float], **how: str
) -> None:
    """Boxes from left to right with arrows between them."""
    for number, (text, width) in enumerate(zip(texts, widths, strict=True)):
        box(axes, x, y, width, 7, text, **how)
        x += width
        if number < len(texts) - 1:
            arrow(axes, (x, y + 3.5), (x + 3, y + 3.5))
            x += 3
