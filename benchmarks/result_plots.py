"""Pictures of one run of the benchmark, from its JSON only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from result_tables import DATA, PARTS

from export.picture import save

Results = dict[str, Any]

# Okabe and Ito's colours, told apart by all kinds of colour vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#999999")
MARKS = {"float": "o", "8": "s", "4": "D", "1": "^"}


def write(measured: Results, folder: Path) -> None:
    """Draw what there is; PNG files."""
    if any(row["quality"] for row in measured["chunks"]):
        save(quality(measured["chunks"]), folder / "quality.png")
    save(memory(measured["split"]), folder / "memory.png")
    save(growth(measured["classes"], measured["overlap"]), folder / "growth.png")
    if "side_by_side" in measured:
        save(side_by_side(measured["side_by_side"]["rows"]), folder / "side_by_side.png")


def quality(rows: Sequence[Results]) -> Figure:
    """Quality against CPU time per hour of audio, one panel for each data set."""
    encoders = list(dict.fromkeys(row["encoder"] for row in rows if row["quality"]))
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(DATA))
    for axes, (data, title) in zip(panels, DATA.items(), strict=True):
        for row in rows:
            if data not in row["quality"]:
                continue
            probe = row["head"] == "mean-linear"
            axes.plot(
                row["cpu_s_per_hour"], row["quality"][data]["mean"],
                "x" if probe else MARKS[row["bits"]], markersize=7,
                color=COLOURS[encoders.index(row["encoder"])],
            )  # fmt: skip
        axes.set_xscale("log")
        _log(axes.xaxis)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("CPU seconds per hour of audio")
        axes.grid(linewidth=0.4)
    panels[0].set_ylabel("macro mAP, %")
    for encoder, colour in zip(encoders, COLOURS, strict=False):
        panels[0].plot([], [], "s", color=colour, label=encoder)
    named = {"linear probe": "x"} | {
        f"protobin, {bits} tokens" if bits == "float" else f"protobin, {bits} bit": mark
        for bits, mark in MARKS.items()
    }
    for label, mark in named.items():
        panels[0].plot([], [], mark, color="black", label=label)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def memory(rows: Sequence[Results]) -> Figure:
    """Resident memory of the classifier process, part on part."""
    figure = Figure(figsize=(9, 0.6 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    names = [f"{row['encoder']}, {row['n_classes']:,} classes" for row in rows]
    left = [0.0] * len(rows)
    for (part, label), colour in zip(PARTS.items(), COLOURS, strict=True):
        widths = [row["parts_mib"][part] for row in rows]
        axes.barh(names, widths, left=left, color=colour, label=label)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("MiB resident at the peak")
    figure.legend(loc="outside upper center", ncols=len(PARTS), fontsize=8)
    return figure


def growth(classes: Sequence[Results], overlap: Sequence[Results]) -> Figure:
    """What classes and overlapping windows cost."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    kinds = dict.fromkeys((row["head"], row["bits"], row["layer"]) for row in classes)
    for kind, colour in zip(kinds, COLOURS, strict=False):
        of = [row for row in classes if (row["head"], row["bits"], row["layer"]) == kind]
        head, bits, layer = kind
        label = "linear probe" if head == "mean-linear" else f"protobin, {bits} bit, {layer}"
        left.plot(
            [row["n_classes"] for row in of],
            [row["cpu_ms_per_chunk"] + row["cpu_ms_per_window"] for row in of],
            "o-", color=colour, label=label,
        )  # fmt: skip
    left.set_xscale("log")
    left.set_yscale("log")
    _log(left.xaxis, (1,))
    _log(left.yaxis, (1,))
    left.set_xlabel("classes")
    left.set_ylabel("CPU ms of the head, a chunk and a window")
    left.legend(fontsize=8)
    shares = [100 * row["overlap"] for row in overlap]
    for key, label, colour in (("ours", "chunks encoded once (ours)", COLOURS[0]),
                               ("anew", "every window encoded anew", COLOURS[3])):  # fmt: skip
        spent = [row[f"{key}_cpu_s_per_hour"] for row in overlap]
        right.plot(shares, spent, "o-", color=colour, label=label)
    right.set_ylim(bottom=0)
    right.set_xlabel("overlap of windows, %")
    right.set_ylabel("CPU seconds per hour of audio, demo encoder")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(linewidth=0.4)
    return figure


def side_by_side(rows: Sequence[Results]) -> Figure:
    """Quality, memory and time of ours and of peers, a row of panels for each encoder."""
    encoders = list(dict.fromkeys(row["encoder"] for row in rows if row["quality"]))
    figure = Figure(figsize=(11, 3.2 * len(encoders)), layout="constrained")
    grid = figure.subplots(len(encoders), 3, squeeze=False)
    for line, encoder in zip(grid, encoders, strict=True):
        of = [row for row in rows if row["encoder"] == encoder]
        whole = [row for row in rows if not row["quality"]]
        first = next(iter(DATA))
        _bars(line[0], of, [row["quality"][first]["mean"] for row in of],
              f"{encoder}: mAP, {DATA[first]}, %")  # fmt: skip
        _bars(line[1], of + whole, [row["peak_rss_mib"] for row in of + whole], "peak memory, MiB")
        _bars(line[2], of + whole, [row["cpu_s_per_hour"] for row in of + whole],
              "CPU seconds per hour of audio")  # fmt: skip
        line[0].set_yticks(range(len(of + whole)), _names(of + whole), fontsize=7)
        line[0].set_ylim(*line[1].get_ylim())
        for axes in line[1:]:
            axes.set_yticklabels([])
    return figure


def _log(axis: Axis, marked: Sequence[int] = (1, 2, 5)) -> None:
    """Plain numbers at these multiples of powers of ten."""
    axis.set_major_locator(LogLocator(subs=marked))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def _bars(axes: Axes, rows: Sequence[Results], values: Sequence[float], title: str) -> None:
    """Ours in blue, peers in orange."""
    colours = [COLOURS[0] if row["who"] == "ours" else COLOURS[1] for row in rows]
    drawn = axes.barh(range(len(rows)), values, color=colours)
    axes.bar_label(drawn, [f"{value:.1f}" for value in values], padding=2, fontsize=7)
    axes.set_yticks(range(len(rows)), _names(rows), fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title(title, fontsize=9)


def _names(rows: Sequence[Results]) -> list[str]:
    return [
        f"{row['name']}{', fast' if row['profile'] == 'fast' else ''} ({row['who']})"
        if row["quality"] else row["encoder"]
        for row in rows
    ]  # fmt: skip
