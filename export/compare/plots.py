"""Pictures of a comparison: bars, quality against bytes, quality against bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from export.compare.measure import Row
from export.compare.summary import LINEAR
from export.compare.trials import has_prototypes
from export.j_curve import j_curve
from export.picture import plain, save
from export.precision import PRECISIONS

# Okabe and Ito's colours, told apart by all kinds of colour vision.
_COLOURS = ("#999999", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442")
_MARKS = "osD^vPX*<>"
_LETTER_IN = 0.065
"""Width of a letter of 8 points, inches; on average it is less."""

Place = tuple[str, str]
"""Data set and encoder."""

Kind = tuple[str, int | None, bool]
"""Head, J where it has prototypes, and whether its tokens are of one bit."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of head looks, in every picture of a comparison."""

    label: str
    colour: str
    mark: str
    hatch: str


def write_plots(entries: Sequence[Row], folder: Path) -> list[Path]:
    """Draw what there is to draw; PNG files."""
    figures = {"quality.png": bars(entries)}
    if any(entry["parity"] is not None for entry in entries):
        figures["bytes.png"] = against_bytes(entries)
    if any(entry["bits"] != "float" for entry in entries):
        figures["bits.png"] = against_bits(entries)
    for number, (place, curve) in enumerate(_j_curves(entries).items()):
        figures[f"j_curve_{number}.png"] = j_curve(curve)
        figures[f"j_curve_{number}.png"].suptitle(_title(place))
    paths = []
    for name, figure in figures.items():
        paths.append(folder / name)
        save(figure, paths[-1])
    return paths


def _j_curves(entries: Sequence[Row]) -> dict[Place, list[Row]]:
    """Rows of a J curve for each data set and encoder, where several J were compared."""
    curves: dict[Place, list[Row]] = {}
    for entry in entries if _has_several_j(entries) else []:
        if has_prototypes(entry["head"]) and _is_plain(entry):
            row = entry | {"quality": entry["test"] / 100, "sd": (entry["test_sd"] or 0) / 100}
            curves.setdefault(_place(entry), []).append(row)
    return curves


def bars(entries: Sequence[Row]) -> Figure:
    """Test mAP of every head, a group of bars per data and encoder.

    A bar is the mean over seeds, its line the bootstrap interval of the first one.
    """
    shown = [e for e in entries if _is_plain(e) and e["bits"] in ("float", "1")]
    places, styles = _places(shown), _styles(shown)
    figure = Figure(figsize=(max(7.0, 0.28 * len(shown) + 2), 5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(3, len(styles))
    for number, (kind, style) in enumerate(styles.items()):
        of = [e for e in shown if _kind(e) == kind]
        at = [places.index(_place(e)) + (number - (len(styles) - 1) / 2) * width for e in of]
        axes.bar(
            at, [e["test"] for e in of], width, label=style.label, color=style.colour,
            hatch=style.hatch,
        )  # fmt: skip
        sure = [
            (x, e["low"], e["high"]) for x, e in zip(at, of, strict=True) if e["low"] is not None
        ]
        if sure:
            places_of, lows, highs = zip(*sure, strict=True)
            axes.vlines(places_of, lows, highs, colors="black", linewidth=0.9)
    _name_groups(axes, [*map(_title, places)])
    drawn = [e[key] for e in shown for key in ("test", "low") if e[key] is not None]
    axes.set_ylim(max(0, min(drawn) - 5), 101)
    axes.set_ylabel("macro mAP on test clips, %")
    axes.grid(axis="y", linewidth=0.4)
    axes.set_axisbelow(True)
    _legend(figure, [axes])
    return figure


def _name_groups(axes: Axes, names: Sequence[str]) -> None:
    """Names below groups of bars, aslant where they would meet."""
    longest = max(len(line) for name in names for line in name.splitlines())
    meet = longest * _LETTER_IN > 0.85 * axes.get_figure().get_figwidth() / len(names)  # type: ignore[union-attr]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    if meet:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)


def against_bytes(entries: Sequence[Row]) -> Figure:
    """Quality against the bytes of prototypes and linear layer on the device."""
    shown = [e for e in entries if e["parity"] is not None]
    styles = _styles(entries)
    figure, panels = _panels(shown)
    for place, axes in panels.items():
        for kind, style in styles.items():
            of = [e for e in shown if (_place(e), _kind(e)) == (place, kind)]
            axes.plot(
                [(e["prototype_bytes"] + e["linear_bytes"]) / 1000 for e in of],
                [e["test"] for e in of], style.mark, markersize=5, color=style.colour, alpha=0.8,
                label=style.label if of else None,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("head, kB", fontsize=8)
    _legend(figure, [*panels.values()])
    return figure


def against_bits(entries: Sequence[Row]) -> Figure:
    """Quality against token precision, int8 rows; the linear probe as a line across."""
    shown = [e for e in entries if _is_plain(e)]
    styles = _styles(entries)
    figure, panels = _panels(shown)
    order = list(PRECISIONS)
    for place, axes in panels.items():
        here = [e for e in shown if _place(e) == place]
        for kind, style in styles.items():
            of = [e for e in here if _kind(e)[:2] == kind[:2] and not kind[2]]
            if {e["bits"] for e in of} <= {"float"}:
                continue
            of.sort(key=lambda e: order.index(e["bits"]))
            axes.errorbar(
                [order.index(e["bits"]) for e in of], [e["test"] for e in of],
                [e["test_sd"] or 0 for e in of], marker=style.mark, markersize=5,
                label=style.label, color=style.colour, capsize=2, linewidth=1.2,
            )  # fmt: skip
        for probe in (e for e in here if e["head"] == LINEAR):
            axes.axhline(
                probe["test"], color=styles[_kind(probe)].colour, linestyle="--", label=LINEAR
            )
        axes.set_xticks(range(len(order)), [n if n == "float" else f"{n} bit" for n in order],
                        fontsize=7)  # fmt: skip
    _legend(figure, [*panels.values()])
    return figure


def _panels(entries: Sequence[Row]) -> tuple[Figure, dict[Place, Axes]]:
    """A small panel for each data set and encoder."""
    places = _places(entries)
    n_columns = min(4, len(places))
    n_rows = -(-len(places) // n_columns)
    size = (max(4.5, 2.9 * n_columns + 0.4), 2.5 * n_rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    panels = dict(zip(places, grid.flat, strict=False))
    for axes in grid.flat[len(places) :]:
        axes.set_visible(False)
    for place, axes in panels.items():
        axes.set_title(_title(place), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(linewidth=0.4)
    figure.supylabel("macro mAP on test clips, %", fontsize=9)
    return figure, panels


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """Above the panels, as wide as they are; the figure grows by its height."""
    labelled = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    column_in = 0.55 + _LETTER_IN * max(map(len, labelled))
    n_columns = min(len(labelled), max(1, int(figure.get_figwidth() / column_in)))
    figure.set_figheight(figure.get_figheight() + 0.18 * -(-len(labelled) // n_columns))
    figure.legend(labelled.values(), labelled.keys(), loc="outside upper center",
                  ncols=n_columns, fontsize=8)  # fmt: skip


def _styles(entries: Sequence[Row]) -> dict[Kind, Style]:
    several = _has_several_j(entries)
    styles: dict[Kind, Style] = {}
    for number, kind in enumerate(dict.fromkeys(map(_kind, entries))):
        head, n_own, one_bit = kind
        own = f", J = {n_own}" if several and n_own is not None else ""
        styles[kind] = Style(
            f"{head}{own}{', 1 bit' if one_bit else ''}",
            _COLOURS[number % len(_COLOURS)],
            _MARKS[number % len(_MARKS)],
            "//" if number >= len(_COLOURS) else "",
        )
    return styles


def _kind(entry: Row) -> Kind:
    n_own = entry["prototypes_per_class"] if has_prototypes(entry["head"]) else None
    return entry["head"], n_own, entry["bits"] == "1"


def _has_several_j(entries: Sequence[Row]) -> bool:
    return len({e["prototypes_per_class"] for e in entries if has_prototypes(e["head"])}) > 1


def _is_plain(entry: Row) -> bool:
    """Whether the linear layer is the head's usual one."""
    return entry["layer"] in ("int8", "int8-grouped") or not entry["prototype_bytes"]


def _place(entry: Row) -> Place:
    return entry["data"], entry["encoder"]


def _title(place: Place) -> str:
    return "\n".join(plain(name, 36) for name in place)


def _places(entries: Sequence[Row]) -> list[Place]:
    return list(dict.fromkeys(map(_place, entries)))
