"""Markdown tables of the kernel benchmark, made from its rows and nothing else."""

from collections.abc import Iterable
from typing import Any

import ceiling
from peers import BASELINE, PEERS, Peer

Row = dict[str, Any]

HEADLINES = {(10_000, 512, 768): "The reference size", (420, 512, 768): "A small head"}

BITS = (1, 4, 8, "float")


def render(result: dict[str, Any]) -> str:
    """The whole document."""
    rows = result["rows"]
    roof = ceiling.bit_operations(result["ceiling"])
    parts = [_preface(result), _ceiling(result["ceiling"])]
    for size, title in HEADLINES.items():
        here = [row for row in rows if _size(row) == size]
        if here:
            parts += [f"## {title}: {_named(size)}", _peers(here, result), _ours(here, roof)]
            parts.append(_step(here))
    parts.append("## Every size: ms of the peer (its time over ours)")
    parts += [_every_size(rows, bits, result) for bits in BITS]
    return "\n\n".join(part for part in parts if part) + "\n"


def of_ours(result: dict[str, Any]) -> str:
    """All our kernels at the reference size, for the README of the kernels."""
    size, machine = next(iter(HEADLINES)), result["machine"]
    here = [row for row in result["rows"] if _size(row) == size]
    about = (
        f"{_named(size)}; one core of {machine['cpu']} ({', '.join(machine['flags'])}), "
        f"{machine['date']}; measured-here, CPU time, medians [p5, p95; n]; digits given."
    )
    return f"{_ours(here, ceiling.bit_operations(result['ceiling']))}\n\n{about}\n"


def best(rows: Iterable[Row], bits: object, kind: str = "match") -> Row | None:
    """Our quickest kernel at such tokens."""
    ours = [row for row in rows if (row["who"], row["bits"], row["kind"]) == ("ours", bits, kind)]
    return min(ours, key=lambda row: float(row["cpu_ms"]), default=None)


def _size(row: Row) -> tuple[int, int, int]:
    return row["n_prototypes"], row["n_tokens"], row["n_dims"]


def _named(size: tuple[int, int, int]) -> str:
    return f"M = {size[0]:,}, T = {size[1]}, D = {size[2]}"


def _preface(result: dict[str, Any]) -> str:
    machine = result["machine"]
    libraries = {"numpy": machine["numpy"], "onnxruntime": machine["onnxruntime"]}
    versions = ", ".join(f"{name} {v}" for name, v in (libraries | machine["peers"]).items())
    lines = [
        "# Kernels against their peers",
        "",
        f"{machine['cpu']}, {machine['architecture']} ({', '.join(machine['flags'])}), one core, "
        f"{machine['date']}. {versions}.",
        "",
        "Medians of CPU time, in brackets the 5th and 95th percentile and n. Each peer ran in a "
        "process of its own, in turns with our kernels: `x` is the median of its time over ours "
        "there. Error: the largest difference of a prototype score from the reference. Weights: as "
        "given to the library, its own copies not counted. Temporaries: what one call allocates, "
        "its result included; tracemalloc for NumPy, growth of resident memory for the others. "
        "`(AMX)`: the library uses it on this CPU. Written by `benchmarks/bench_kernels.py`.",
    ]
    if result["missing"]:
        lines += ["", f"Not installed, not measured: {', '.join(result['missing'])}."]
    for kind in ("skipped", "failed"):
        for part in result[kind]:
            why = part["why"].splitlines()[-1]
            lines += ["", f"{kind.capitalize()}: {part['peer']}, {_named(part['size'])}: {why}"]
    return "\n".join(lines)


def _ceiling(measured: dict[str, Any]) -> str:
    if not measured["kinds"]:
        return f"Ceiling not measured: {measured.get('missing', 'unknown architecture')}."
    clock = measured["clock_ghz"]
    title = "## Measured ceiling of one core" + (f", {clock:g} GHz" if clock else "")
    return f"{title}\n\n" + _table(
        ["instructions", "popcount alone, Gbit-op/s", "xor + popcount + add, Gbit-op/s"],
        [
            [kind["name"], f"{kind['popcount_gbit_s']:,}", f"{kind['xor_popcount_add_gbit_s']:,}"]
            for kind in measured["kinds"]
        ],
    )


def _peers(rows: list[Row], result: dict[str, Any]) -> str:
    """Each peer of one size against the best of ours at each precision."""
    lines = []
    for peer in PEERS:
        together = [row for row in rows if row["peer"] == peer.name]
        if not together:
            continue
        own = together[0]
        lines.append([
            _title(peer, result), str(own["bits"]), _time(own), _error(own), *_memory(own),
            f"{own['gmac_s']:.0f}", *(_against(best(together, bits)) for bits in BITS),
        ])  # fmt: skip
    heads = [
        "peer", "tokens", "ms", "error", "weights MiB", "temporaries MiB", "GMAC/s",
        *(f"ours, {bits}" for bits in BITS),
    ]  # fmt: skip
    return _table(heads, lines)


def _ours(rows: list[Row], roof: float | None) -> str:
    """All our kernels at one size, beside the baseline."""
    lines = [
        [
            f"`{row['name']}`", str(row["bits"]), _time(row), f"{row['peer_time_over_own']:.2f}x",
            _error(row), *_memory(row), f"{row['gmac_s']:.0f}", _bit_operations(row, roof),
        ]
        for row in rows
        if (row["peer"], row["who"], row["kind"]) == (BASELINE.name, "ours", "match")
    ]  # fmt: skip
    heads = [
        "ours", "tokens", "ms", BASELINE.name, "error", "weights MiB", "temporaries MiB", "GMAC/s",
        "Gbit-op/s (of the ceiling)",
    ]  # fmt: skip
    return _table(heads, lines)


def _step(rows: list[Row]) -> str:
    """Quantise, pack and match against the product of float32 tokens as they come."""
    lines = []
    for peer in PEERS:
        together = [row for row in rows if row["peer"] == peer.name]
        steps = [best(together, bits, "step") for bits in BITS]
        if any(steps):
            times = [f"{_time(step)} {_against(step)}" if step else "" for step in steps]
            lines.append([peer.name, _time(together[0]), *times])
    heads = ["float32 tokens given", "ms", *(f"ours, {bits}" for bits in BITS)]
    title = "The whole step: quantise, pack and match from float32 tokens."
    return f"{title}\n\n{_table(heads, lines)}"


def _every_size(rows: list[Row], bits: object, result: dict[str, Any]) -> str:
    """One line a size, one column a peer."""
    peers = [peer for peer in PEERS if peer.bits != 1 or bits == 1]
    peers = [peer for peer in peers if any(row["peer"] == peer.name for row in rows)]
    lines, errors = [], dict.fromkeys((peer.name for peer in peers), 0.0)
    for size in sorted({_size(row) for row in rows}):
        cells, ours = [], None
        for peer in peers:
            together = [r for r in rows if r["peer"] == peer.name and _size(r) == size]
            quickest = best(together, bits)
            ours = quickest if peer is BASELINE else ours
            cells.append(f"{_ms(together[0])} {_against(quickest, False)}" if together else "")
            errors[peer.name] = max(errors[peer.name], *(r["error"] for r in together[:1]), 0.0)
        about = [f"`{ours['name']}`", _time(ours), _error(ours)] if ours else ["", "", ""]
        lines.append([*(f"{number:,}" for number in size), *about, *cells])
    lines.append(["largest error", *[""] * 5, *map(_number, errors.values())])
    heads = ["M", "T", "D", "ours", "ms", "error", *(_title(peer, result) for peer in peers)]
    name = f"{bits} bit{'s' * (bits != 1)}" if bits != "float" else "float tokens"
    return f"### Ours with {name}\n\n" + _table(heads, lines)


def _title(peer: Peer, result: dict[str, Any]) -> str:
    amx = any(flag.startswith("amx") for flag in result["machine"]["flags"])
    return f"{peer.name} (AMX)" if peer.uses_amx and amx else peer.name


def _against(row: Row | None, with_name: bool = True) -> str:
    if row is None:
        return ""
    times = f"{row['peer_time_over_own']:.2f}x"
    return f"{times} `{row['name']}`" if with_name else f"({times})"


def _ms(row: Row, value: float | None = None) -> str:
    value = row["cpu_ms"] if value is None else value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _time(row: Row) -> str:
    low, high = (_ms(row, value) for value in row["cpu_ms_p5_p95"])
    return f"{_ms(row)} [{low}, {high}; {row['n']}]"


def _error(row: Row) -> str:
    return _number(row["error"])


def _number(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def _memory(row: Row) -> list[str]:
    return [f"{row[key] / 2**20:.3g}" for key in ("weight_bytes", "peak_bytes")]


def _bit_operations(row: Row, roof: float | None) -> str:
    if row["gbit_op_s"] is None:
        return ""
    counts_bits = "popcount" in row["name"] or row["name"] == "native-scalar"
    share = f" ({row['gbit_op_s'] / roof:.0%})" if roof and counts_bits else ""
    return f"{row['gbit_op_s']:,.0f}{share}"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
