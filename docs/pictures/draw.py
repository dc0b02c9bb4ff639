"""Draw the book's pictures into a folder, by default this one: ``draw.py [FOLDER]``."""

import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from evidence import evidence
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sheet import BLUE, GREEN, INK, LINE, ORANGE, PALE, RED, arrow, board, box, chain

from edge_probe.head.quantize import quantize


def road() -> Figure:
    """Laptop, device, desk."""
    figure, axes = board(101, 48)
    lanes = [
        (36, "laptop: edge-export", BLUE,
         ["clips", "frozen\nencoder", "tokens", "train\nand prove", "1-bit head,\nthresholds",
          "signed\nbundle"],
         [9, 11, 9, 12, 14, 11]),
        (20, "device: edge-probe", GREEN,
         ["microphone", "segments +\nledger of gaps", "chunk", "encoder,\ntokens",
          "prototype\nscores", "detections"],
         [12, 15, 8, 11, 12, 12]),
        (4, "desk: edge-probe", ORANGE,
         ["cards", "archive", "report,\nreview", "Raven, BirdNET,\nCamtrap DP ...", "corrections"],
         [9, 10, 11, 17, 13]),
    ]  # fmt: skip
    for y, name, colour, texts, widths in lanes:
        axes.text(44 if y == 4 else 17, y + 8.6, name, color=colour, weight="bold")
        chain(axes, y, texts, 3, widths, colour=colour)
    arrow(axes, (79, 36), (64, 27.4), 0.12)
    axes.text(74, 31.2, "edge-firmware", ha="left", va="center", style="italic")
    arrow(axes, (80, 20), (8, 11.3), 0.05)
    axes.text(66, 16.2, "card", style="italic")
    arrow(axes, (75.5, 7.5), (85, 39.5), 0.75)
    axes.text(90, 14, "refit", ha="left", va="center", style="italic")
    return figure


def windows() -> Figure:
    """Two runs, their chunks, windows of three chunks every two."""
    figure, axes = board(92, 34)
    size, top = 8.0, 22
    for first, n, name in ((4, 5, "run 1"), (58, 3, "run 2")):
        last = 0.55 if name == "run 1" else 1
        axes.text(first, top + 8.2, name, weight="bold")
        for chunk in range(n):
            x, share = first + size * chunk, last if chunk == n - 1 else 1
            axes.add_patch(plt.Rectangle((x, top), size, 5.5, facecolor="white", edgecolor=LINE))
            axes.add_patch(
                plt.Rectangle((x, top), size * share, 5.5, facecolor="#cfe0f1", edgecolor=LINE)
            )
            axes.text(x + size * share / 2, top + 2.75, f"{chunk}", ha="center", va="center")
        spans = ((0, 3), (2, 5)) if n == 5 else ((0, 3),)
        for row, (begin, end) in enumerate(spans):
            y = 15 - 4.5 * row
            length = min(size * end, size * (n - 1 + last)) - size * begin
            axes.add_patch(
                plt.Rectangle((first + size * begin, y), length, 2.6, facecolor=BLUE, alpha=0.8)
            )
            axes.text(first + size * begin + length / 2, y + 1.2, f"window {row}", ha="center",
                      va="center", color="white", fontsize=8)  # fmt: skip
    axes.text(42.2, top + 2.75, "zeros", color=LINE, fontsize=7, va="center", ha="center")
    axes.axvspan(44.4, 57.4, ymin=0.25, ymax=0.83, color=RED, alpha=0.10)
    axes.text(51, top + 2.75, "gap: stall\n0.8 s", ha="center", va="center", color=RED)
    told = (
        "k = 3 chunks a window, one every h = 2. Each chunk is encoded once; the maximum over a "
        "window is the maximum of its\nchunks' maxima. The end of a run is filled with zeros that "
        "nobody hears; counting begins anew behind a gap."
    )
    axes.text(4, 4, told, va="center", fontsize=8.5)
    return figure


def processes() -> Figure:
    """Process A, process B, and the disk between them."""
    figure, axes = board(92, 36)
    for y, colour, name in ((21, GREEN, "process A: capture, never waits"),
                            (3, BLUE, "process B: classifier, may be slow, may die")):  # fmt: skip
        axes.add_patch(plt.Rectangle((2, y - 1.5), 56, 14, facecolor="none", edgecolor=colour,
                                     linestyle="--"))  # fmt: skip
        axes.text(3, y + 9.7, name, color=colour, weight="bold")
    chain(axes, 21, ["microphone", "ring, 30 s", "segments"], 5, [14, 14, 14], colour=GREEN)
    chain(axes, 3, ["segments", "chunks", "detections"], 5, [14, 14, 14], colour=BLUE)
    box(axes, 68, 21, 20, 7, "audio/*.wav\ncapture.sqlite", ORANGE)
    box(axes, 68, 3, 20, 7, "detections.sqlite", ORANGE)
    axes.text(78, 31.5, "disk", ha="center", weight="bold", color=ORANGE)
    arrow(axes, (53, 24.5), (68, 24.5))
    arrow(axes, (53, 6.5), (68, 6.5))
    arrow(axes, (68, 22.5), (13, 10.2), -0.12)
    axes.text(61.5, 14.6, "reads what is closed", style="italic")
    return figure


def ledger() -> Figure:
    """One stream: stretches above, what became of the recorded ones below."""
    figure, axes = board(92, 27)
    stretches = [
        (16, "segment", GREEN), (16, "segment", GREEN), (4, "gap\nstall", RED),
        (16, "segment", GREEN), (11, "gap: device", RED), (16, "segment", GREEN),
    ]  # fmt: skip
    became = [
        (20, "classified", BLUE), (6, "private", ORANGE), (6, "classified", BLUE), (4, "", ""),
        (10, "classified", BLUE), (6, "skipped", LINE), (11, "", ""), (16, "classified", BLUE),
    ]  # fmt: skip
    for y, parts, name in ((15, stretches, "scheduled"), (5, became, "recorded")):
        x = 11.0
        axes.text(1, y + 2.5, name, va="center", weight="bold", fontsize=8.5)
        for width, text, colour in parts:
            if text:
                axes.add_patch(plt.Rectangle((x, y), width, 5, facecolor=colour, alpha=0.22))
                axes.add_patch(plt.Rectangle((x, y), width, 5, fill=False, edgecolor=colour))
                axes.text(x + width / 2, y + 2.5, text, ha="center", va="center", fontsize=7)
            x += width
    axes.annotate("", (90.5, 22.5), (11, 22.5), arrowprops={"arrowstyle": "-|>", "color": INK})
    axes.text(11, 24, "frames of the stream, from 0; lost ones are counted too", fontsize=8.5)
    axes.text(11, 2, "effort = classified", color=BLUE, weight="bold", fontsize=8.5)
    return figure


def xnor() -> Figure:
    """Sixteen components of a token and a prototype."""
    random = np.random.default_rng(5)
    prototype = random.integers(0, 2, 16)
    token = np.where(random.random(16) < 0.75, prototype, 1 - prototype)
    differ = token ^ prototype
    figure, axes = board(92, 30)
    for y, name, bits in ((22, "token signs z", token), (16, "prototype p", prototype),
                          (10, "z XOR p", differ)):  # fmt: skip
        axes.text(2, y + 2, name, va="center", weight="bold")
        for place, bit in enumerate(bits):
            fill = (RED if bit else "white") if y == 10 else ("#cfe0f1" if bit else "white")
            x = 18 + 4.4 * place
            axes.add_patch(plt.Rectangle((x, y), 4.2, 4.2, facecolor=fill, edgecolor=LINE,
                                         alpha=0.85))  # fmt: skip
            axes.text(x + 2.1, y + 2, str(bit), ha="center", va="center", family="monospace",
                      color="white" if y == 10 and bit else INK)  # fmt: skip
    n, d = len(token), int(differ.sum())
    told = (
        f"popcount = {d} places differ,   K = D - 2 popcount = {n} - {2 * d} = {n - 2 * d},"
        f"   score = K / D = {(n - 2 * d) / n:.3f}"
    )
    axes.text(18, 4.5, told, va="center")
    axes.text(2, 4.5, "1 stands for +1", va="center", fontsize=8, color=LINE)
    return figure


def digits() -> Figure:
    """Staircases of the quantiser, and the straight-through estimator."""
    figure: Figure
    figure, found = plt.subplots(1, 4, figsize=(9.2, 2.5), width_ratios=(1, 1, 1, 1.1))
    x = np.linspace(-3, 3, 601)
    unit = np.tile([1.0, -1.0], 2000)  # gives the token a root mean square of nearly 1
    panels: Sequence[Axes] = list(found)
    precisions: tuple[Literal[1, 2, 4], ...] = (1, 2, 4)
    for axes, bits in zip(panels[:3], precisions, strict=True):
        token = np.concatenate([[0.0], unit]).astype(np.float32)
        values = []
        for one in x:
            token[0] = one
            made = quantize(token[None], np.zeros(len(token), np.float32), np.ones(1, bool), bits)
            values.append(2 * int(made.values[0, 0]) - (2**bits - 1))
        axes.plot(x, values, color=BLUE, drawstyle="steps-mid")
        axes.set_title(f"{bits} bit" + "s" * (bits > 1), fontsize=9)
        axes.set_xlabel("component / RMS of its token", fontsize=8)
        axes.axhline(0, color=PALE, zorder=0)
    panels[0].set_ylabel("digit v")
    last = panels[-1]
    last.plot(x, np.sign(x), color=BLUE, label="used: sign(θ)")
    last.plot(x, x, color=ORANGE, linestyle="--", label="gradient: as if θ")
    last.set(xlim=(-2, 2), ylim=(-2.6, 2.6), title="training")
    last.title.set_fontsize(9)
    last.set_xlabel("θ", fontsize=8)
    last.legend(fontsize=7, frameon=False, loc="upper left")
    figure.tight_layout()
    return figure


def bundle() -> Figure:
    """The order in which a bundle is read."""
    figure, axes = board(98, 25)
    steps = [
        "list the folder", "signature\nof the manifest", "parse the\nmanifest",
        "size and sha256\nof every file", "parse tensors,\nlabels, graph",
        "compute the\nproofs again",
    ]  # fmt: skip
    widths = [12, 14, 12, 16, 14, 13]
    chain(axes, 13, steps, 1, widths)
    x = 1.0
    for width in widths:
        arrow(axes, (x + width / 2, 13), (x + width / 2, 8))
        x += width + 3
    told = "anything else than expected: refused, with the number of the reason; nothing is used"
    box(axes, 1, 2, 96, 5.5, told, RED, "#fbeaea")
    return figure


def slots() -> Figure:
    """What can become of a new bundle."""
    figure, axes = board(92, 34)
    box(axes, 2, 20, 17, 8, "slot a: release 7\ngood, in use", GREEN)
    box(axes, 36, 20, 20, 8, "slot b: release 8\non trial, in use", ORANGE)
    box(axes, 73, 20, 17, 8, "8 is good,\n7 is kept", GREEN)
    box(axes, 18, 3, 23, 7, "8 refused: 7 in use,\n8 is not tried again", RED, "#fbeaea")
    box(axes, 51, 3, 23, 7, "unproven after 24 h:\n7 in use", LINE)
    arrow(axes, (19, 24), (36, 24))
    axes.text(27.5, 29.2, "install:\nselftest passes", ha="center", va="center", fontsize=8)
    arrow(axes, (56, 24), (73, 24))
    axes.text(
        64.5, 30.2, "10 min recorded,\n10 min classified", ha="center", va="center", fontsize=8
    )
    arrow(axes, (42, 20), (31, 10))
    axes.text(35, 15, "too slow, too large,\ncrashes, 3 boots", ha="right", va="center", fontsize=8)
    arrow(axes, (50, 20), (61, 10))
    axes.text(57, 15, "no evidence\n(no microphone)", ha="left", va="center", fontsize=8)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "road.svg": road, "windows.svg": windows, "processes.svg": processes, "ledger.svg": ledger,
    "xnor.svg": xnor, "digits.svg": digits, "bundle.svg": bundle, "slots.svg": slots,
    "evidence.png": evidence,
}  # fmt: skip


def draw(folder: Path) -> None:
    """Write every picture into a folder; the same bytes each time with the same matplotlib."""
    for name, make in PICTURES.items():
        figure = make()
        if name.endswith(".svg"):
            figure.savefig(folder / name, metadata={"Date": None})
        else:  # 128 colours: a third of the size
            pixels = BytesIO()
            figure.savefig(pixels, format="png", dpi=100)
            Image.open(pixels).convert("RGB").quantize(128).save(folder / name, optimize=True)
        plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
