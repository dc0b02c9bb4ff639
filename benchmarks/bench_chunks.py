"""Encoders x heads x bits: model size, time per chunk, peak memory; qualities measured before."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import made_up
import numpy as np
from apart import apart

from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.head import Head, MeanLinearHead
from edge_probe.head.linear import layer_bytes
from edge_probe.spec import TokenBits
from export.card import EncoderCard

N_CLASSES, N_PROTOTYPES = 10, 200
"""Those of the ESC-10 mixtures; Koumura's finch has 9 and 180."""

N_CHUNKS, N_CHECKED = 40, 3

AUDIO = DEMO_BUNDLE.parent / "demo_scene.ogg"
"""44.1 kHz."""

PRECISIONS: tuple[TokenBits, ...] = ("float", 8, 4, 1)

DATA = ("synthetic_mixtures", "koumura")


def measure(
    cards: Mapping[str, EncoderCard],
    qualities: Mapping[str, Any],
    n_chunks: int = N_CHUNKS,
    precisions: Sequence[TokenBits] = PRECISIONS,
) -> list[dict[str, object]]:
    """A row for each head and precision behind each encoder.

    Parameters
    ----------
    cards : mapping of name to EncoderCard
        Names as in ``qualities``.
    qualities : mapping
        A result of ``bench_probing.py``; none but costs where it does not know an encoder.
    n_chunks : int
    precisions : sequence of TokenBits
        Of the protobin heads; a linear probe comes before them.
    """
    return [
        _row(name, card, head, _quality(name, head, qualities.get("table", ())), n_chunks)
        for name, card in cards.items()
        for head in _heads(card.spec.grid.n_dims, precisions)
    ]


def _heads(n_dims: int, precisions: Sequence[TokenBits]) -> list[Head]:
    return [
        made_up.mean_linear(N_CLASSES, n_dims),
        *(made_up.protobin(bits, N_CLASSES, N_PROTOTYPES, n_dims) for bits in precisions),
    ]


def _quality(name: str, head: Head, table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Test mAP in percent by data set: mean and deviation over seeds."""
    probe = isinstance(head, MeanLinearHead)
    wanted = ("linear-mean", "float32") if probe else ("protobin-offset", "int8")
    return {
        row["data"]: {"mean": row["test"], "sd": row["test_sd"], "n_seeds": row["n_seeds"]}
        for row in table
        if (row["encoder"], row["bits"], row["head"], row["layer"])
        == (name, str(head.bits), *wanted)
    }


def _row(
    name: str, card: EncoderCard, head: Head, quality: dict[str, Any], n_chunks: int
) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as folder:
        made_up.bundle(card, head, Path(folder) / "bundle")
        request = {"bundle": f"{folder}/bundle", "audio": str(AUDIO)}
        checked = apart("chunk_process.py", {**request, "n_chunks": N_CHECKED, "check": True})
        if not checked["right"]:
            raise SystemExit(f"{name}, {head.kind} {head.bits}: off by {checked['max_error']}")
        found = apart("chunk_process.py", {**request, "n_chunks": n_chunks, "check": False})
        n_bytes = sum(path.stat().st_size for path in (Path(folder) / "bundle").iterdir())
    median, high = (float(np.percentile(found["cpu_s"], share)) for share in (50, 95))
    chunk_s = card.spec.chunk_s
    return {
        "encoder": name, "head": head.kind, "bits": str(head.bits), "chunk_s": round(chunk_s, 3),
        "encoder_bytes": sum(p.stat().st_size for p in (card.graph, *card.external_data)),
        "prototype_bytes": 0 if isinstance(head, MeanLinearHead) else head.prototypes.nbytes,
        "linear_bytes": layer_bytes(head.linear), "bundle_bytes": n_bytes, "n_chunks": n_chunks,
        "cpu_ms_p50": round(1e3 * median, 3), "cpu_ms_p95": round(1e3 * high, 3),
        "cpu_s_per_hour": round(3600 * median / chunk_s, 2),
        "peak_rss_mib": round(found["peak_rss_mib"], 1), "max_error": checked["max_error"],
        "quality": quality,
    }  # fmt: skip
