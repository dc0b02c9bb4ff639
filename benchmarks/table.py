"""The figures in the README and in benchmarks/README, made from the committed results only."""

import json
from pathlib import Path
from typing import Any

import other_tables
import result_tables

BEGIN, END = "<!-- figures: begin (benchmarks write this) -->\n", "<!-- figures: end -->"

HERE = Path(__file__).parent
README, DETAILS = HERE.parent / "README.md", HERE / "README.md"

Results = dict[str, Any]


def load(folder: Path) -> Results:
    """Every result file by its name, and as ``machine`` the newest of all machines.

    ``machine`` gets the folder of its machine as ``folder``, from the benchmarks on.
    """
    results: Results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }
    if runs := sorted(folder.glob("*/*.json"), key=lambda path: (path.stem, path.parent.name)):
        newest = json.loads(runs[-1].read_text(encoding="utf-8"))
        results["machine"] = newest | {"folder": f"{folder.name}/{runs[-1].parent.name}"}
    return results


def put_all(results: Results) -> None:
    """Renew what comes of a run of this benchmark."""
    put(README, render(results))
    put(DETAILS, details(results))


def details(results: Results) -> str:
    """What stands in benchmarks/README."""
    text = result_tables.details(results["machine"])
    if "gate" in results:
        text += f"\n### An activity gate\n\n{other_tables.gate(results['gate'])}\n"
    if "archive" in results:
        text += f"\n### Archives\n\n{other_tables.archives(results['archive'])}\n"
    return text


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
    rows += _this_run(measured)
    rows.append(("Raspberry Pi", "No Raspberry Pi was measured for this version.", "", ""))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    note = (
        f"{_place(measured['machine'])}; medians, CPU time, with a load of "
        f"{measured['load_at_start']} on {measured['machine']['cores']} cores at the start. "
        f"Kernels: {_place(results['kernels']['machine'])}."
    )
    return "\n".join([*lines, "", note, "", result_tables.summary(measured)])


def _this_run(measured: Results) -> list[tuple[str, str, str, str]]:
    """Memory, classes, overlap and cold start in a line each."""
    here = measured["tag"]
    parts = measured["split"][0]["parts_mib"]
    most = max(measured["classes"], key=lambda row: (row["n_classes"], row["bits"] == "1"))
    last, start = measured["overlap"][-1], measured["cold_start"][1]
    return [
        (
            f"the classifier's memory at its peak, {measured['split'][0]['encoder']}",
            f"{measured['split'][0]['peak_rss_mib']} MiB",
            f"interpreter {parts['interpreter']:.0f}, runtime {parts['runtime']:.0f}, encoder "
            f"{parts['encoder']:.0f}, bundle {parts['bundle']:.0f}, head and buffers "
            f"{parts['prototypes'] + parts['linear_layer'] + parts['buffers']:.0f}",
            here,
        ),
        (
            f"{most['n_classes']:,} classes of 20 prototypes, 512 tokens, D = 768, "
            f"{most['bits']}-bit: a chunk",
            f"{most['cpu_ms_per_chunk']:.0f} ms, "
            f"{(most['prototype_bytes'] + most['linear_bytes']) / 2**20:.1f} MiB",
            "scores off by 0",
            here,
        ),
        (
            f"windows that overlap by {last['overlap']:.0%}: an hour, chunks encoded once "
            "(every window encoded anew)",
            f"{last['ours_cpu_s_per_hour']:.1f} s ({last['anew_cpu_s_per_hour']:.1f} s)",
            "same logits",
            here,
        ),
        (
            f"from start to {start['what']}",
            f"{start['wall_s']:.2f} s",
            f"{start['wall_s_most']:.2f} s at most, {start['cpu_s']:.2f} s of CPU",
            here,
        ),
    ]


def _place(machine: Results) -> str:
    """What figures were measured on, and when."""
    vectors = [flag for flag in machine.get("flags", ()) if flag.startswith(("avx512_v", "avx2"))]
    return (
        f"{machine['cpu']}, {machine['architecture']} ({', '.join(vectors)}), NumPy "
        f"{machine['numpy']}, onnxruntime {machine['onnxruntime']}, {machine['date']}"
    )


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
