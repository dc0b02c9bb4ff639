"""The table of figures in the README, made from the committed results and nothing else."""

import json
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: begin (benchmarks write this) -->\n", "<!-- figures: end -->"

Results = dict[str, Any]


def load(folder: Path) -> Results:
    """Every result file by its name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def reference_row(kernels: Results, bits: int) -> Results:
    """Our quickest kernel at M = 10,000, T = 512, D = 768, beside NumPy's float32 product."""
    rows = [
        row
        for row in kernels["rows"]
        if (row["peer"], row["who"], row["kind"], row["bits"])
        == ("numpy float32", "ours", "match", bits)
        and (row["n_prototypes"], row["n_tokens"], row["n_dims"]) == (10_000, 512, 768)
    ]
    fastest: Results = min(rows, key=lambda row: float(row["cpu_ms"]))
    return fastest


def render(results: Results) -> str:
    """The table as Markdown."""
    measured, here = results["machine"], "measured-here"
    memory, rows_of = measured["memory"], measured["overhead"]["rows"]
    rows = [("figure", "value", "error", "tag"), ("---", "---", "---", "---")]
    for name, key in (("demo encoder", "esc10_demo"), ("YAMNet", "esc10_yamnet")):
        if key in results:
            summary = results[key]["summary"]
            one, exact, probe = (summary[bits] for bits in ("1", "float", "mean-linear"))
            rows.append((
                f"ESC-10, 4 folds, {name}: 1-bit tokens (float tokens; mean-linear head)",
                f"{one['mean']:.1%} ({exact['mean']:.1%}; {probe['mean']:.1%})",
                f"± {one['sd_over_seeds']:.1%} over {len(results[key]['seeds'])} seeds",
                here,
            ))  # fmt: skip
    if "probing_compare" in results:
        rows += _probing(results["probing_compare"]["overall"])
    rows += [
        ("demo bundle on disk", f"{measured['demo_bundle_kib']} KiB", "", here),
        (
            f"peak memory of `classify -`, {memory['minutes'] / 60:.0f} h of audio",
            f"{memory['peak_rss_mib']} MiB",
            f"+ {memory['growth_after_warm_up_mib']} MiB after warm-up",
            here,
        ),
        (
            "CPU time per second of audio, whole road, one thread",
            f"{rows_of[0]['cpu_s_per_s'] * 1e3:.2f} ms",
            f"scores off by {rows_of[0]['max_error']:g}",
            here,
        ),
    ]
    for row in rows_of:
        rows.append((
            f"of one {row['chunk_s']:g} s chunk, {row['encoder']}: bare session / everything else",
            f"{row['bare_session_ms_per_chunk']} / {row['ours_ms_per_chunk']} ms "
            f"(+ {row['ours_ms_per_chunk'] / row['bare_session_ms_per_chunk']:.0%})",
            f"scores off by {row['max_error']:g}",
            here,
        ))  # fmt: skip
    for bits in (1, 4, 8):
        row = reference_row(results["kernels"], bits)
        rows.append((
            f"10,000 prototypes x 512 tokens, D = 768, {bits}-bit tokens, `{row['name']}`",
            f"{row['cpu_ms']:.3g} ms, {row['peer_time_over_own']:.3g} x as fast as NumPy float32",
            f"scores off by {row['error']:g}",
            here,
        ))  # fmt: skip
    rows.append(("Raspberry Pi", "No Raspberry Pi was measured for this version.", "", ""))
    machine = measured["machine"]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    note = (
        f"{machine['cpu']}, {machine['architecture']}, NumPy {machine['numpy']}, onnxruntime "
        f"{machine['onnxruntime']}, {machine['date']}; medians, CPU time."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _probing(overall: Results) -> list[tuple[str, str, str, str]]:
    """What the prototypes bring and what few bits cost, over the token maps of the benchmark."""
    names = {
        "chosen_minus_linear": "chosen head minus linear layer on the mean token",
        "chosen_minus_float": "chosen precision minus float tokens",
        "binary_minus_float": "1-bit minus float tokens",
    }
    return [
        (
            f"macro mAP, {overall['rows']} token maps x 5 seeds, {what}",
            f"{overall[key]['mean']:+.1f} points",
            f"{overall[key]['least']:+.1f} to {overall[key]['most']:+.1f}",
            "measured-here",
        )
        for key, what in names.items()
    ]


def in_document(text: str) -> str:
    """The table as it stands in a document."""
    return text.split(BEGIN, 1)[1].split(END, 1)[0]


def put(document: Path, table: str) -> None:
    """Put a table into a document, in place of the one that stands there."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    document.write_text(before + BEGIN + table + END + after, encoding="utf-8")
