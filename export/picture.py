"""A decision as a picture: where in time and frequency it was heard, and what tipped the scales."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.signal import spectrogram

from edge_probe.bundle import Bundle
from export.decisions import Decision, Place

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Of the strongest places, by Okabe and Ito: colour-blind people tell them apart."""

PLAIN, AGAINST = "#333333", "#AAAAAA"
"""Of all other places, and of what speaks against the class."""

TAGS = "ABCDEFGHIJKLMNOPQRST"
"""One for each box that is listed; the rest is drawn without."""

N_NAMED = 2
"""Prototypes named for each box."""

N_FOR, N_AGAINST = 10, 5
"""Bars drawn on either side."""

SEGMENT_S, STEP_S = 0.032, 0.004
RANGE_DB = 70.0


def evidence_figure(decision: Decision, bundle: Bundle, owners: NDArray[np.int64] | None) -> Figure:
    """Spectrogram with the boxes of the evidence, and the contributions below.

    Parameters
    ----------
    decision : Decision
    bundle : Bundle
        The one that made it.
    owners : (M,) int64, optional
        The class that each prototype speaks most for; None for a head without prototypes.

    Returns
    -------
    matplotlib.figure.Figure
        Axes in this order: spectrogram, list of the boxes if there are any, bars. To be saved
        at any dpi.
    """
    figure = Figure(figsize=(10, 8.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1))
    sound = figure.add_subplot(grid[0, 0] if decision.places else grid[0, :])
    if decision.places:
        _list_places(figure.add_subplot(grid[0, 1]), decision)
    bars = figure.add_subplot(grid[1, :])
    _draw_sound(sound, decision, bundle)
    marks = [*zip(decision.places, colours(decision), tags(decision), strict=True)]
    for place, colour, tag in reversed(marks):  # the strongest on top
        _draw_place(sound, place, colour, tag)
    sound.set_title(title(decision, bundle), fontsize=11, loc="left")
    sound.set_xlabel(f"time in {plain(decision.heard.path.name, 60)}, s")
    if decision.contributions is None or owners is None:
        _draw_classes(bars, decision, bundle)
    else:
        names = [plain(bundle.labels[owner].common_name, 24) for owner in owners]
        _draw_contributions(bars, decision, decision.contributions, names)
    return figure


def colours(decision: Decision) -> list[str]:
    """One for each place: the strongest ones have their own."""
    n_plain = max(0, len(decision.places) - len(COLOURS))
    return [*COLOURS, *([PLAIN] * n_plain)][: len(decision.places)]


def tags(decision: Decision) -> list[str]:
    """One for each place, empty where there are too many to list."""
    n_untagged = max(0, len(decision.places) - len(TAGS))
    return [*TAGS, *([""] * n_untagged)][: len(decision.places)]


def title(decision: Decision, bundle: Bundle) -> str:
    """Class, logit, threshold, bundle, and what the boxes are."""
    event, label = decision.event, decision.event.label
    name = plain(label.common_name, 60)
    if label.scientific_name != label.common_name:
        name += f" ({plain(label.scientific_name, 60)})"
    first = (
        f"{name}: logit {event.logit:.2f}, threshold {event.threshold:.2f}, "
        f"{event.start_s:.2f} to {event.end_s:.2f} s\nbundle {plain(bundle.id, 90)}"
    )
    if decision.contributions is None:
        return f"{first}\nThis head averages all tokens: its evidence has no place, so no boxes."
    if not decision.places:
        return f"{first}\nNo prototype speaks for it: its bias alone is above the threshold."
    share = sum(place.share for place in decision.places)
    half = f"Boxes: half of what was heard that speaks for it ({share:.0%})."
    if any(place.box.low_hz is None for place in decision.places):
        half += "\nIts tokens have no known band: boxes tell times only."
    return f"{first}\n{half}"


def plain(text: str, width: int) -> str:
    """Text of at most that many characters that matplotlib does not take for mathematics."""
    short = text if len(text) <= width else f"{text[: width - 1]}…"
    return short.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 150 dpi; letters that matplotlib's font lacks are boxes in it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the boxes say it
        figure.savefig(path, dpi=150)


def _draw_sound(axes: Axes, decision: Decision, bundle: Bundle) -> None:
    """The audio of the window as the model heard it, in dB below full scale."""
    rate_hz, n_samples = bundle.encoder.sample_rate_hz, len(decision.samples)
    segment, step = max(4, round(SEGMENT_S * rate_hz)), max(1, round(STEP_S * rate_hz))
    padded = np.pad(decision.samples, segment // 2)
    frequencies, _, power = spectrogram(
        padded, rate_hz, "hann", segment, segment - step, scaling="spectrum"
    )
    level = 10 * np.log10(np.maximum(power, 1e-20))
    top = float(level.max())
    half_s, half_hz = step / rate_hz / 2, frequencies[1] / 2
    first_s = decision.start_s - half_s
    axes.imshow(
        level, cmap="gray_r", aspect="auto", origin="lower", interpolation="bilinear",
        vmin=max(top - RANGE_DB, float(np.quantile(level, 0.1))), vmax=top,
        extent=(
            first_s, first_s + 2 * half_s * level.shape[1],
            (frequencies[0] - half_hz) / 1e3, (frequencies[-1] + half_hz) / 1e3,
        ),
    )  # fmt: skip
    axes.set_xlim(decision.start_s, decision.start_s + n_samples / rate_hz)
    axes.set_ylim(0, rate_hz / 2e3)
    axes.set_ylabel("frequency, kHz (darker is louder, in dB)")


def _draw_place(axes: Axes, place: Place, colour: str, tag: str) -> None:
    """One box, over all frequencies where its band is not known."""
    box, (low, high) = place.box, axes.get_ylim()
    if box.low_hz is not None and box.high_hz is not None:
        low, high = box.low_hz / 1e3, min(box.high_hz / 1e3, high)
    axes.add_patch(
        Rectangle(
            (box.start_s, low), box.end_s - box.start_s, high - low,
            fill=False, edgecolor=colour, linewidth=1.5 if colour == PLAIN else 2.5,
        )
    )  # fmt: skip
    corner = (max(box.start_s, axes.get_xlim()[0]), high)
    axes.annotate(
        tag, corner, xytext=(2, -2), textcoords="offset points", fontsize=8,
        ha="left", va="top", color="white", weight="bold", annotation_clip=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1} if tag else None,
    )  # fmt: skip


def _list_places(axes: Axes, decision: Decision) -> None:
    """Who found each box, and what part of the evidence that is."""
    axes.axis("off")
    axes.set_title("box  prototype: share", fontsize=9, loc="left")
    step = 1 / (len(TAGS) + 1)
    marks = zip(decision.places, colours(decision), tags(decision), strict=True)
    for row, (place, colour, tag) in enumerate(marks):
        if not tag:
            rest = decision.places[row:]
            note = f"+ {len(rest)} boxes: {sum(each.share for each in rest):.0%}"
            axes.text(0, 1 - row * step, note, fontsize=8, va="top")
            return
        pairs = list(zip(place.prototypes, place.shares, strict=True))
        text = ", ".join(f"{m}: {share:.0%}" for m, share in pairs[:N_NAMED])
        if len(pairs) > N_NAMED:
            text += f", {len(pairs) - N_NAMED} more: {sum(place.shares[N_NAMED:]):.0%}"
        axes.text(0, 1 - row * step, tag, fontsize=8, va="top", color=colour, weight="bold")
        axes.text(0.1, 1 - row * step, text, fontsize=8, va="top")


def _draw_contributions(
    axes: Axes, decision: Decision, values: NDArray[np.float64], owners: list[str]
) -> None:
    """The largest contributions, and the sum that the logit is."""
    order = np.argsort(-values, kind="stable")
    ahead = [m for m in order[:N_FOR].tolist() if values[m] > 0]
    behind = [m for m in order[-N_AGAINST:].tolist() if values[m] < 0]
    shown = [*ahead, *behind]
    marks = [*zip(decision.places, colours(decision), tags(decision), strict=True)]
    mark = {m: (colour, tag) for place, colour, tag in marks for m in place.prototypes}
    fills = [mark.get(m, (PLAIN, ""))[0] if values[m] > 0 else AGAINST for m in shown]
    names = [f"{owners[m]}  {m}  {mark.get(m, ('', ''))[1]}" for m in shown]
    _bars(axes, names, values[shown], fills)
    speaks_for, against = values[values > 0].sum(), abs(values[values < 0].sum())
    axes.set_title(
        f"{decision.baseline:.2f} (usual sound) + {speaks_for:.2f} (for it) − {against:.2f} "
        f"(against it) = logit {decision.event.logit:.2f}",
        fontsize=11, loc="left",
    )  # fmt: skip
    rest = f"; left out: {len(values) - len(shown)} smaller" if len(values) > len(shown) else ""
    axes.set_xlabel(f"contribution to the logit, compared with a usual sound{rest}")
    axes.set_ylabel("class it speaks most for, prototype, box")


def _draw_classes(axes: Axes, decision: Decision, bundle: Bundle) -> None:
    """The classes nearest to a detection, for a head whose evidence has no place."""
    margin = decision.logits - bundle.threshold_on
    shown = np.argsort(-margin, kind="stable")[:N_FOR]
    names = [plain(bundle.labels[c].common_name, 30) for c in shown]
    fills = [COLOURS[0] if c == decision.class_index else PLAIN for c in shown]
    _bars(axes, names, margin[shown], fills)
    axes.set_title("All classes in this window, the nearest first", fontsize=11, loc="left")
    axes.set_xlabel("logit above the threshold of the class")


def _bars(axes: Axes, names: list[str], values: NDArray[np.float64], fills: list[str]) -> None:
    """Horizontal bars from the top down, each with its number."""
    rows = range(len(names))
    drawn = axes.barh(rows, values, color=fills)
    axes.bar_label(drawn, [f"{value:+.2f}" for value in values], padding=3, fontsize=9)
    axes.set_yticks(rows, names, fontsize=9)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
