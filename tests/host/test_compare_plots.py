"""Pictures of a comparison: all that was measured is in them, and nothing is cut off."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from support.comparison import row, rows

from export.compare.plots import against_bits, against_bytes, bars, write_plots
from export.compare.summary import table
from export.heads import HEADS


def heights(figure: Figure) -> list[float]:
    patches = figure.axes[0].patches
    return [round(bar.get_height(), 1) for bar in patches if isinstance(bar, Rectangle)]


def intervals(figure: Figure) -> list[tuple[float, ...]]:
    lines = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    return [tuple(line.get_segments()[0][:, 1].round(1)) for line in lines]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def colours(figure: Figure) -> dict[str, tuple[float, ...]]:
    """Of the first panel, by name."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    lines: list[Any] = [handle[0] if isinstance(handle, tuple) else handle for handle in handles]
    return {name: to_rgba(line.get_color()) for name, line in zip(names, lines, strict=True)}


def test_bars_show_every_head_with_its_interval() -> None:
    figure = bars(table(rows()))
    assert heights(figure) == [81, 90, 88, 87.5]
    assert intervals(figure) == [(79, 82), (88, 91), (86, 89), (85.5, 88.5)]


def test_an_interval_is_drawn_where_it_lies_even_beside_its_bar() -> None:
    """It is of the first seed; the bar is a mean over seeds."""
    figure = bars(table([row("protobin", "float", 0, 80, 80, low=85.0, high=95.0)]))
    assert heights(figure) == [80]
    assert intervals(figure) == [(85, 95)]


def test_nothing_above_zero_can_still_be_drawn(tmp_path: Path) -> None:
    nothing = [row("mhca", "float", 0, 0, 0.0, low=None, high=None, parity=None,
                   prototype_bytes=0, layer="float32")]  # fmt: skip
    assert [path.name for path in write_plots(table(nothing), tmp_path)] == ["quality.png"]
    low, high = bars(table(nothing)).axes[0].get_ylim()
    assert low <= 0 < high


def test_several_j_are_told_apart(tmp_path: Path) -> None:
    one_seed = [each for each in rows() if each["seed"] == 0]
    more = [
        each | {"prototypes_per_class": 5, "test": each["test"] - 10}
        for each in one_seed
        if each["head"] != "linear-mean"
    ]
    entries = table([*one_seed, *more])
    assert len(heights(bars(entries))) == 7
    assert "protobin-offset, J = 5, 1 bit" in legend(bars(entries))
    assert "linear-mean" in legend(bars(entries))
    (axes,) = against_bits(entries).axes
    for curve in axes.containers:
        assert isinstance(curve, ErrorbarContainer)
        bits = np.asarray(curve.lines[0].get_xdata(), float).tolist()
        assert bits == sorted(set(bits)), "a curve never goes back"
    assert "j_curve_0.png" in [path.name for path in write_plots(entries, tmp_path)]


@pytest.mark.parametrize("n_heads", [1, 3, 20])
@pytest.mark.parametrize("picture", [bars, against_bytes, against_bits])
def test_the_legend_of_a_single_panel_is_whole(picture: Any, n_heads: int) -> None:
    names = [f"protobin-{'long' * (n % 4)}-{n}" for n in range(n_heads)]
    figure = picture(table([row(n, bits, 0, 80, 81) for n in names for bits in ("float", "4")]))
    figure.draw_without_rendering()
    assert len(legend(figure)) == n_heads
    box, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    assert figure.axes[0].get_window_extent().y1 <= box.y0
    assert figure.axes[0].get_window_extent().height > 100


def test_ticks_of_bytes_do_not_run_into_each_other() -> None:
    sizes = [88, 91, 235, 240, 790]
    entries = table([row("protobin", "float", 0, 80, 81, linear_bytes=n, layer=f"layer {n}")
                     for n in sizes])  # fmt: skip
    figure = against_bytes(entries)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    ticks = [*axes.xaxis.get_majorticklabels(), *axes.xaxis.get_minorticklabels()]
    boxes = sorted(
        (tick.get_window_extent() for tick in ticks if tick.get_text() and tick.get_visible()),
        key=lambda box: box.x0,
    )
    assert len(boxes) >= 2
    for left, right in pairwise(boxes):
        assert left.x1 <= right.x0


def test_a_head_has_one_colour_in_all_pictures() -> None:
    entries = table([row(head, "float", 0, 80, 81) for head in HEADS] + rows())
    of_bits, of_bytes = colours(against_bits(entries)), colours(against_bytes(entries))
    shared = set(of_bits) & set(of_bytes)
    assert {"linear-mean", "protobin-offset"} <= shared
    assert {name: of_bits[name] for name in shared} == {name: of_bytes[name] for name in shared}


def test_names_are_no_mathematics(tmp_path: Path) -> None:
    odd = [each | {"data": "a$_b^$", "encoder": "n" * 200} for each in rows()]
    for path in write_plots(table(odd), tmp_path):
        assert path.stat().st_size > 1000
