"""Speed against the number of prototypes, under the measured ceiling of the core."""

from pathlib import Path
from typing import Any

import matplotlib
from kernel_tables import best
from peers import BASELINE, PEERS

Row = dict[str, Any]

N_TOKENS, N_DIMS = 512, 768

_MARKERS = "osv^<>DPX*+"


def draw(result: dict[str, Any], path: Path) -> None:
    """Two panels: one bit in Gbit-op/s under the ceiling; wider tokens in GMAC/s."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    shown = (N_TOKENS, N_DIMS)
    rows = [row for row in result["rows"] if (row["n_tokens"], row["n_dims"]) == shown]
    figure, panels = plt.subplots(1, 2, figsize=(13, 6.5), layout="constrained")
    for panel, widths in zip(panels, ((1,), (4, 8, "float")), strict=True):
        _draw_ours(panel, rows, widths)
        _draw_peers(panel, rows, widths)
        panel.set(xscale="log", yscale="log", xlabel="prototypes M")
        ticks = sorted({row["n_prototypes"] for row in rows})
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    _draw_ceiling(panels[0], result["ceiling"])
    panels[0].set(title="1-bit tokens", ylabel="Gbit-op/s (= GMAC/s at one bit)")
    panels[1].set(title="4-bit, 8-bit and float tokens", ylabel="GMAC/s")
    for panel in panels:
        panel.yaxis.set_major_formatter("{x:g}")
        panel.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
    machine = result["machine"]
    figure.suptitle(
        f"Prototype scores of T = {N_TOKENS} tokens, D = {N_DIMS}: one core of {machine['cpu']}, "
        f"{machine['architecture']}, {machine['date']}"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_ours(panel: Any, rows: list[Row], widths: tuple[object, ...]) -> None:
    """One bold line a precision: our quickest kernel beside the baseline."""
    for bits, style in zip(widths, ("-", "--", ":"), strict=False):
        points = {}
        for n_prototypes in sorted({row["n_prototypes"] for row in rows}):
            beside = (BASELINE.name, n_prototypes)
            here = [row for row in rows if (row["peer"], row["n_prototypes"]) == beside]
            if quickest := best(here, bits):
                points[n_prototypes] = quickest["gmac_s"]
        label = f"edge-probe, {bits}-bit" if bits != "float" else "edge-probe, float"
        at, speed = list(points), list(points.values())
        panel.plot(at, speed, style, marker="o", lw=3, color="black", label=label, zorder=3)


def _draw_peers(panel: Any, rows: list[Row], widths: tuple[object, ...]) -> None:
    """One thin line a peer that takes such tokens."""
    peers = [peer for peer in PEERS if peer.bits in widths]
    for peer, marker in zip(peers, _MARKERS, strict=False):
        own = [row for row in rows if row["who"] == "peer" and row["name"] == peer.name]
        points = {row["n_prototypes"]: row["gmac_s"] for row in own}
        if points:
            at = sorted(points)
            panel.plot(at, [points[m] for m in at], marker=marker, lw=1, ms=5, label=peer.name)


def _draw_ceiling(panel: Any, measured: dict[str, Any]) -> None:
    """What the widest vectors of this core can do."""
    for kind in measured["kinds"][:1]:
        for key, name in (
            ("popcount_gbit_s", "popcount alone"),
            ("xor_popcount_add_gbit_s", "xor + popcount + add"),
        ):
            level = kind[key]
            panel.axhline(level, ls="-.", color="firebrick", lw=1)
            text = f"measured ceiling: {name} ({kind['name']}), {level:,.0f}"
            panel.annotate(
                text, (0.02, level), xycoords=("axes fraction", "data"), xytext=(0, 3),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
