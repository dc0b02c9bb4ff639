"""The tables of encoder forms in `export/encoders/README.md`, from the committed results only."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Results = dict[str, Any]

README = Path(__file__).parents[1] / "export" / "encoders" / "README.md"

CAP_MIB = 130
"""Of the column about small memories."""


def render(results: Results) -> str:
    """All of them as Markdown."""
    machine = results["machine"]
    return "\n".join([
        *_table(
            ["form", "gate", "file", "token cosine, mean (min)", "mAP float tokens", "mAP 1 bit",
             "decisions changed"],
            _fidelity(results.get("fidelity", {})),
        ),
        "",
        *_table(
            ["form, `low-memory`", "file", "load peak", "anonymous", "mapped", "total", "ms",
             f"in {CAP_MIB} MiB"],
            _profile(results.get("profile", {})),
        ),
        "",
        *_table(
            ["encoder", "chunk", "chunks a window", "mAP, taught on windows",
             "mAP, taught on chunks", "ms per s"],
            _chunks(results.get("chunks", {})),
        ),
        "",
        "ESC-10 folds 1 to 4, 320 clips; mAP in percent, of the encoder before and after, heads of "
        "the encoder before. MiB.",
        f"{machine['cpu']}, onnxruntime {machine['onnxruntime']}, one thread, "
        f"{machine['date']}, measured-here; times on a busy machine.",
        "",
    ])  # fmt: skip


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> list[str]:
    found = list(rows)
    lines = [heads, ["---"] * len(heads), *found] if found else []
    return ["| " + " | ".join(line) + " |" for line in lines]


def _fidelity(forms: Results) -> Iterator[Sequence[str]]:
    for name, found in forms.items():
        yield [
            name,
            "passes" if found["passes"] else "**fails**",
            f"{found['file_mib']:.1f}",
            f"{found['token_cosine_mean']:.4f} ({found['token_cosine_min']:.2f})",
            _change(found, "float"),
            _change(found, "1bit"),
            f"{found['float_decisions_changed_percent']:.1f} %",
        ]


def _change(found: Results, bits: str) -> str:
    before, after = found[f"{bits}_map_before"], found[f"{bits}_map_after"]
    return f"{before:.2f} → {after:.2f}"


def _profile(forms: Results) -> Iterator[Sequence[str]]:
    for name, found in forms.items():
        costs = {
            cost["cap_mib"]: cost for cost in found["costs"] if cost["profile"] == "low-memory"
        }
        free = costs[None]
        fields = ("load_peak_mib", "anonymous_mib", "file_mapped_mib", "total_mib", "chunk_ms")
        yield [
            name,
            f"{found['file_mib']:.1f}",
            *(f"{free[field]:.0f}" for field in fields),
            _verdict(costs[CAP_MIB]) if CAP_MIB in costs else "not measured",
        ]


def _verdict(cost: Results) -> str:
    if "reread_mib_per_chunk" not in cost:
        return str(cost["verdict"])
    return f"{cost['verdict']} ({cost['chunk_ms']:.0f} ms)"


def _chunks(encoders: Results) -> Iterator[Sequence[str]]:
    for name, rows in encoders.items():
        for row in rows:
            yield [
                name,
                f"{row['chunk_s']:.2f} s",
                str(row["window_chunks"]),
                f"{row['map_of_heads_taught_on_windows']:.2f}",
                f"{row['map_of_heads_taught_on_chunks']:.2f}",
                f"{row['ms_per_s']:.1f}",
            ]
