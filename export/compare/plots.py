"""Pictures of a comparison: bars, quality against bytes, quality against bits."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.compare.measure import Row
from export.compare.summary import LINEAR
from export.j_curve import j_curve
from export.precision import PRECISIONS

# Okabe and Ito's colours, told apart by all kinds of colour vision.
_COLOURS = ("#999999", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442")
_MARKS = "osD^vPX*<>"
DPI = 150


def write_plots(entries: Sequence[Row], folder: Path) -> list[Path]:
    """Draw what there is to draw; PNG files."""
    figures = {"quality.png": bars(entries), "bytes.png": against_bytes(entries)}
    if any(entry["bits"] != "float" for entry in entries):
        figures["bits.png"] = against_bits(entries)
    for number, (place, curve) in enumerate(_j_curves(entries).items()):
        figures[f"j_curve_{number}.png"] = j_curve(curve)
        figures[f"j_curve_{number}.png"].suptitle(", ".join(place))
    paths = []
    for name, figure in figures.items():
        paths.append(folder / name)
        figure.savefig(paths[-1], dpi=DPI)
    return paths


def _j_curves(entries: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows of a J curve for each data set and encoder, where several J were compared."""
    curves: dict[tuple[str, str], list[Row]] = {}
    for entry in entries:
        if entry["prototype_bytes"] and _is_plain(entry):
            row = entry | {"quality": entry["test"] / 100, "sd": (entry["test_sd"] or 0) / 100}
            curves.setdefault(_place(entry), []).append(row)
    several = {e["prototypes_per_class"] for e in entries if e["prototype_bytes"]}
    return curves if len(several) > 1 else {}


def bars(entries: Sequence[Row]) -> Figure:
    """Test mAP of every head with its bootstrap interval, a group of bars per data and encoder."""
    shown = [e for e in entries if _is_plain(e) and e["bits"] in ("float", "1")]
    places, names = _places(shown), list(dict.fromkeys(map(_name, shown)))
    figure = Figure(figsize=(max(7.0, 0.28 * len(shown) + 2), 5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        of = {_place(e): e for e in shown if _name(e) == name}
        at = [i for i, place in enumerate(places) if place in of]
        height = [of[places[i]]["test"] for i in at]
        errors = [
            [max(0.0, e["test"] - (e["low"] or e["test"])) for e in (of[places[i]] for i in at)],
            [max(0.0, (e["high"] or e["test"]) - e["test"]) for e in (of[places[i]] for i in at)],
        ]
        axes.bar(
            [i + (number - (len(names) - 1) / 2) * width for i in at], height, width, label=name,
            color=_COLOURS[number % len(_COLOURS)], hatch="//" if number >= len(_COLOURS) else "",
            yerr=errors, error_kw={"linewidth": 0.8, "capsize": 1.5},
        )  # fmt: skip
    axes.set_xticks(range(len(places)), ["\n".join(place) for place in places], fontsize=8)
    lowest = min(e["low"] or e["test"] for e in shown)
    axes.set_ylim(max(0, lowest - 5), 100)
    axes.set_ylabel("macro mAP on test clips, %")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=min(6, len(names)), fontsize=8)
    return figure


def against_bytes(entries: Sequence[Row]) -> Figure:
    """Quality against the bytes of prototypes and linear layer on the device."""
    shown = [e for e in entries if e["parity"] is not None]
    figure, panels = _panels(shown)
    for place, axes in panels.items():
        for number, name in enumerate(dict.fromkeys(map(_name, shown))):
            of = [e for e in shown if _place(e) == place and _name(e) == name]
            axes.plot(
                [(e["prototype_bytes"] + e["linear_bytes"]) / 1000 for e in of],
                [e["test"] for e in of], _MARKS[number % len(_MARKS)], markersize=5, label=name,
                color=_COLOURS[number % len(_COLOURS)], alpha=0.8,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel("head, kB", fontsize=8)
    _legend(figure, panels)
    return figure


def against_bits(entries: Sequence[Row]) -> Figure:
    """Quality against token precision, int8 rows; the linear probe as a line across."""
    shown = [e for e in entries if _is_plain(e)]
    figure, panels = _panels(shown)
    order = list(PRECISIONS)
    for place, axes in panels.items():
        here = [e for e in shown if _place(e) == place]
        heads = [e["head"] for e in here if e["bits"] != "float"]
        for number, head in enumerate(dict.fromkeys(heads)):
            of = sorted(
                (e for e in here if e["head"] == head), key=lambda e: order.index(e["bits"])
            )
            axes.errorbar(
                [order.index(e["bits"]) for e in of], [e["test"] for e in of],
                [e["test_sd"] or 0 for e in of], marker=_MARKS[number], markersize=5, label=head,
                color=_COLOURS[number + 1], capsize=2, linewidth=1.2,
            )  # fmt: skip
        for probe in (e for e in here if e["head"] == LINEAR):
            axes.axhline(probe["test"], color=_COLOURS[0], linestyle="--", label=LINEAR)
        axes.set_xticks(range(len(order)), [n if n == "float" else f"{n} bit" for n in order],
                        fontsize=7)  # fmt: skip
    _legend(figure, panels)
    return figure


def _panels(entries: Sequence[Row]) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """A small panel for each data set and encoder."""
    places = _places(entries)
    n_columns = min(4, len(places))
    n_rows = -(-len(places) // n_columns)
    figure = Figure(figsize=(2.9 * n_columns + 0.4, 2.5 * n_rows + 0.7), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    panels = dict(zip(places, grid.flat, strict=False))
    for axes in grid.flat[len(places) :]:
        axes.set_visible(False)
    for place, axes in panels.items():
        axes.set_title("\n".join(place), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(linewidth=0.4)
    figure.supylabel("macro mAP on test clips, %", fontsize=9)
    return figure, panels


def _legend(figure: Figure, panels: dict[tuple[str, str], Axes]) -> None:
    labelled = {
        label: handle
        for axes in panels.values()
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(labelled.values(), labelled.keys(), loc="outside upper center",
                  ncols=min(6, len(labelled)), fontsize=8)  # fmt: skip


def _is_plain(entry: Row) -> bool:
    """Whether the linear layer is the head's usual one."""
    return entry["layer"] in ("int8", "int8-grouped") or not entry["prototype_bytes"]


def _name(entry: Row) -> str:
    return f"{entry['head']}, 1 bit" if entry["bits"] == "1" else str(entry["head"])


def _place(entry: Row) -> tuple[str, str]:
    return entry["data"], entry["encoder"]


def _places(entries: Sequence[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(map(_place, entries)))
