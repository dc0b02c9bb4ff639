"""Tables of one run of the benchmark as Markdown, from its JSON only."""

from collections.abc import Iterable, Sequence
from math import hypot
from typing import Any

Results = dict[str, Any]

DATA = {"synthetic_mixtures": "ESC-10 mixtures", "koumura": "Koumura"}

PARTS = {
    "interpreter": "interpreter", "runtime": "runtime", "bundle": "bundle",
    "prototypes": "prototypes", "linear_layer": "linear layer", "encoder": "encoder",
    "buffers": "buffers",
}  # fmt: skip

BYTES_OF_ARRAYS = ("prototypes", "linear_layer")


def summary(measured: Results) -> str:
    """For the README: 1-bit heads behind every encoder, and the first encoder side by side."""
    rows = [row for row in measured["chunks"] if row["bits"] == "1"]
    parts = [_chunks(measured, rows), *_qualities(measured)]
    if "side_by_side" in measured:
        rows = measured["side_by_side"]["rows"]
        first = [row for row in rows if row["encoder"] == rows[0]["encoder"] or not row["quality"]]
        parts += [_side_by_side(first), verdict(first)]
    parts += _left_out(measured)
    link = "[All figures](benchmarks/README.md#figures) and [how they come about]"
    return "\n\n".join([*parts, f"{link}(benchmarks/README.md).", ""])


def details(measured: Results) -> str:
    """For benchmarks/README: everything."""
    machine = measured["machine"]
    parts = [
        f"{machine['cpu']}, {machine['architecture']}, {', '.join(machine['flags'])}; Python "
        f"{machine['python']}, NumPy {machine['numpy']}, onnxruntime {machine['onnxruntime']}, "
        f"{machine['date']}; load {measured['load_at_start']} on {machine['cores']} cores at the "
        "start. One thread, CPU time, medians; `measured-here` unless a table says otherwise.",
        "### Encoders, heads, bits",
        _chunks(measured, measured["chunks"]),
        *_qualities(measured, here=True),
        "### Memory of the whole process",
        _split(measured["split"]),
        _picture(measured, "memory", "Memory of the classifier process", here=True),
        "### Classes, and overlap of windows",
        _classes(measured["classes"]),
        _overlap(measured["overlap"]),
        _picture(measured, "growth", "Cost against classes and overlap", here=True),
        "### Cold start",
        _cold(measured["cold_start"]),
    ]
    if "side_by_side" in measured:
        rows = measured["side_by_side"]["rows"]
        parts += ["### Side by side", _side_by_side(rows), verdict(rows),
                  _picture(measured, "side_by_side", "Side by side", here=True)]  # fmt: skip
    parts += _left_out(measured)
    return "\n\n".join([*parts, ""])


def _left_out(measured: Results) -> list[str]:
    missing = [*measured["left_out"], *measured.get("side_by_side", {}).get("left_out", [])]
    return [f"Left out: {reason}." for reason in missing]


def verdict(rows: Sequence[Results]) -> str:
    """Who wins where, behind each encoder: the best peer against the best of ours."""
    lines = []
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        of = [row for row in rows if row["encoder"] == encoder]
        if len({row["who"] for row in of}) == 2:
            lines += [
                f"* {encoder}, {what}: {_winner(of, key, most)}"
                for what, key, most in _measures(of)
            ]
    return "\n".join(lines)


def _measures(rows: Sequence[Results]) -> list[tuple[str, tuple[str, ...], bool]]:
    """What is compared, where it stands in a row, whether more is better."""
    data = [name for name in DATA if name in rows[0]["quality"]]
    return [
        *((f"mAP on {DATA[name]}", ("quality", name, "mean"), True) for name in data),
        ("peak memory, MiB", ("peak_rss_mib",), False),
        ("CPU seconds per hour", ("cpu_s_per_hour",), False),
    ]


def _winner(rows: Sequence[Results], key: tuple[str, ...], most: bool) -> str:
    best = {
        who: (max if most else min)(
            (row for row in rows if row["who"] == who), key=lambda row: _at(row, key)
        )
        for who in ("ours", "peer")
    }
    values = {who: _at(row, key) for who, row in best.items()}
    ours, peer = (f"{_name(best[who])} {values[who]:.1f}" for who in ("ours", "peer"))
    if _is_draw(best, key):
        return f"a draw, {ours} (ours), {peer} (peer)."
    if (values["ours"] > values["peer"]) == most:
        return f"**ours wins**, {ours} against {peer}."
    return f"**a peer wins**, {peer} against {ours}."


def _is_draw(best: Results, key: tuple[str, ...]) -> bool:
    """Whether seeds or rounds may have made the difference."""
    one, other = best["ours"], best["peer"]
    if key[0] == "quality":
        doubt = hypot(*(_at(row, (*key[:-1], "sd")) for row in (one, other)))
        return abs(_at(one, key) - _at(other, key)) <= doubt
    (low, high), (other_low, other_high) = (
        row.get(f"{key[0]}_spread", [_at(row, key)] * 2) for row in (one, other)
    )
    return bool(low <= other_high and other_low <= high)


def _at(row: Results, key: tuple[str, ...]) -> float:
    value: Any = row
    for name in key:
        value = value[name]
    return float(value or 0)


def _name(row: Results) -> str:
    return str(row["name"]) + (f", `{row['profile']}`" if row["profile"] else "")


def _side_by_side(rows: Sequence[Results]) -> str:
    data = [name for name in DATA if any(name in row["quality"] for row in rows)]
    heads = ["encoder", "head", "whose", *(f"mAP, {DATA[name]}" for name in data), "head, kB",
             "peak memory, MiB", "CPU s per hour of audio (spread)"]  # fmt: skip
    body = [
        [row["encoder"], _name(row), row["who"], *(_quality(row, name) for name in data),
         "" if row["head_bytes"] is None else f"{row['head_bytes'] / 1e3:,.1f}",
         f"{row['peak_rss_mib']:.1f}",
         f"{row['cpu_s_per_hour']:.1f} ({_ends(row['cpu_s_per_hour_spread'])})"]
        for row in rows
    ]  # fmt: skip
    timed = rows[0]
    note = (
        "All of it measured-here in one run: heads trained on the same clips, each by the best of "
        "three recipes on ESC-10 (`probing_heads_compare.json`), "
        f"{timed['quality'][data[0]]['n_seeds']} seeds (mean ± deviation); costs of "
        f"{timed['rounds']} processes each, in turns, on {60 * timed['audio_hours']:.0f} minutes "
        "of test clips. Peers are soundfile, soxr and onnxruntime as they come, one thread."
    )
    return f"{_table(heads, body)}\n\n{note}"


def _chunks(measured: Results, rows: Sequence[Results]) -> str:
    heads = ["encoder", "head", "tokens", *(f"mAP, {name}" for name in DATA.values()),
             "bundle, kB", "chunk, s", "ms a chunk, p50 / p95", "CPU s per hour",
             "peak memory, MiB"]  # fmt: skip
    body = [
        [row["encoder"], row["head"], row["bits"] + ("" if row["bits"] == "float" else " bit"),
         *(_quality(row, name) for name in DATA), f"{row['bundle_bytes'] / 1e3:,.0f}",
         f"{row['chunk_s']:g}", f"{row['cpu_ms_p50']:.2f} / {row['cpu_ms_p95']:.2f}",
         f"{row['cpu_s_per_hour']:.1f}", f"{row['peak_rss_mib']:.1f}"]
        for row in rows
    ]  # fmt: skip
    note = "Costs measured-here: 10 classes, 200 prototypes, int8 layer, from 44.1 kHz to logits"
    source = measured.get("quality_from")
    seeds = [found["n_seeds"] for row in rows for found in row["quality"].values()]
    if source and seeds:
        note += (
            f"; qualities {source['tag']} on {source['date']} by `{source['command']}` "
            f"(macro mAP in percent, {max(seeds)} seeds, `{source['file']}`). The demo encoder was "
            "trained on ESC-10 itself, so it is not judged on it here"
        )
    return f"{_table(heads, body)}\n\n{note}."


def _split(rows: Sequence[Results]) -> str:
    heads = ["encoder", "classes", *PARTS.values(), "peak", "anonymous"]
    body = [
        [row["encoder"], f"{row['n_classes']:,}",
         *(f"{row['parts_mib'][part]:.{2 if part in BYTES_OF_ARRAYS else 1}f}" for part in PARTS),
         f"{row['peak_rss_mib']:.1f}", f"{row['anonymous_mib']:.1f}"]
        for row in rows
    ]  # fmt: skip
    tags = ["tag", "", *("computed" if part in BYTES_OF_ARRAYS else "measured-here"
                         for part in PARTS), "measured-here", "measured-here"]  # fmt: skip
    return (
        f"{_table(heads, [*body, tags])}\n\nMiB resident, 1-bit tokens; what each part adds when "
        "it is loaded. `runtime` is NumPy, onnxruntime and our code; `bundle` is what reading and "
        "checking it leaves behind."
    )


def _classes(rows: Sequence[Results]) -> str:
    kinds = {
        ("protobin", "1", "int8-grouped"): "1 bit, own prototypes",
        ("protobin", "4", "int8-grouped"): "4 bit, own prototypes",
        ("protobin", "1", "int8"): "1 bit, all prototypes",
        ("mean-linear", "float", "float32"): "linear probe",
    }
    found = {(row["n_classes"], row["head"], row["bits"], row["layer"]): row for row in rows}
    body = [
        [f"{count:,}", *(_class_cell(found.get((count, *kind))) for kind in kinds)]
        for count in dict.fromkeys(row["n_classes"] for row in rows)
    ]
    return (
        f"{_table(['classes', *kinds.values()], body)}\n\nCPU ms a chunk + a window, and MiB of "
        "prototypes and layer (computed): the head alone, 20 prototypes a class, 512 tokens, "
        "D = 768, as of 5 s of a ViT-B. A layer that sees all prototypes grows with the square of "
        "the classes: above 1,000 it is left out."
    )


def _class_cell(row: Results | None) -> str:
    if row is None:
        return ""
    mib = (row["prototype_bytes"] + row["linear_bytes"]) / 2**20
    return f"{row['cpu_ms_per_chunk']:.2f} + {row['cpu_ms_per_window']:.2f} ms, {mib:.2f} MiB"


def _overlap(rows: Sequence[Results]) -> str:
    body = [
        [f"{row['overlap']:.0%}", f"{row['ours_cpu_s_per_hour']:.1f}",
         f"{row['anew_cpu_s_per_hour']:.1f}"] for row in rows
    ]  # fmt: skip
    heads = ["windows overlap by", "ours, CPU s per hour", "every window encoded anew"]
    return f"{_table(heads, body)}\n\nDemo encoder, windows of six chunks, the same logits."


def _cold(rows: Sequence[Results]) -> str:
    body = [
        [row["what"], f"{row['wall_s']:.2f} ({row['wall_s_most']:.2f})", f"{row['cpu_s']:.2f}"]
        for row in rows
    ]
    heads = ["from the start of the process to", "s by the clock (most)", "CPU s"]
    return f"{_table(heads, body)}\n\nFiles in the page cache; a card adds the time to read them."


def _quality(row: Results, data: str) -> str:
    found = row["quality"].get(data)
    if found is None:
        return ""
    spread = "" if found["sd"] is None else f" ± {found['sd']:.1f}"
    return f"{found['mean']:.1f}{spread}"


def _ends(spread: Sequence[float]) -> str:
    return " to ".join(f"{value:.1f}" for value in spread)


def _qualities(measured: Results, *, here: bool = False) -> list[str]:
    """The picture of qualities, where there are any."""
    if not any(row["quality"] for row in measured["chunks"]):
        return []
    return [_picture(measured, "quality", "Quality against cost", here=here)]


def _picture(measured: Results, name: str, text: str, *, here: bool = False) -> str:
    return f"![{text}]({'' if here else 'benchmarks/'}{measured['folder']}/{name}.png)"


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
