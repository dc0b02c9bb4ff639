"""The card of a frozen encoder: the facts that its graph does not tell."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge_probe.errors import EncoderError
from edge_probe.spec import EncoderSpec, TokenGrid

CARDS = Path(__file__).with_name("cards")

_REQUIRED = {"name", "licence", "sample_rate_hz", "chunk_samples", "input", "output"}
_GRID = {"start_samples", "step_samples", "band_edges_hz"}


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """An encoder graph and everything a bundle says about it."""

    graph: Path
    spec: EncoderSpec
    provenance: dict[str, str]
    """name and licence."""


def read_card(graph: Path, card: Path | None = None) -> EncoderCard:
    """Read a card and measure the token map's size by running the graph once.

    Parameters
    ----------
    graph : Path
        ONNX file.
    card : Path, optional
        TOML file; default: the one beside the graph with the same name, else the one that comes
        with edge-probe under that name.

    Raises
    ------
    EncoderError
        No graph or card there, or they contradict each other.
    """
    if not graph.is_file():
        raise EncoderError(f"{graph}: no such encoder graph", hint="name an ONNX file")
    path = card or _find(graph)
    facts = _facts(path)
    return EncoderCard(
        graph,
        EncoderSpec(
            graph="encoder.onnx",
            input_name=str(facts["input"]),
            output_name=str(facts["output"]),
            sample_rate_hz=int(facts["sample_rate_hz"]),
            chunk_samples=int(facts["chunk_samples"]),
            grid=_measured_grid(graph, facts),
        ),
        {"name": str(facts["name"]), "licence": str(facts["licence"])},
    )


def _find(graph: Path) -> Path:
    for candidate in (graph.with_suffix(".toml"), CARDS / f"{graph.stem}.toml"):
        if candidate.is_file():
            return candidate
    raise EncoderError(
        f"{graph}: no card for this encoder",
        hint=f"write {graph.with_suffix('.toml').name} beside it; export/README.md shows one",
    )


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EncoderError(f"{path}: {error}", hint="a card is a TOML file") from error
    missing, unknown = _REQUIRED - facts.keys(), facts.keys() - _REQUIRED - _GRID
    if missing or unknown:
        problem = f"lacks {', '.join(sorted(missing))}" if missing else (
            f"has unknown keys {', '.join(sorted(unknown))}"
        )  # fmt: skip
        raise EncoderError(f"{path}: the card {problem}", hint="export/README.md shows one")
    return facts


def _measured_grid(graph: Path, facts: dict[str, Any]) -> TokenGrid:
    n_samples = int(facts["chunk_samples"])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        feed = {str(facts["input"]): np.zeros((1, n_samples), np.float32)}
        (tokens,) = session.run([str(facts["output"])], feed)
    except Exception as error:  # onnxruntime's errors share no base class
        raise EncoderError(
            f"{graph}: does not run as its card says: {str(error).strip().splitlines()[0]}",
            hint="check input, output and chunk_samples of the card",
        ) from error
    if tokens.ndim != 4 or tokens.shape[0] != 1:
        raise EncoderError(
            f"{graph}: expected a token map (1, D, S_t, S_f), found {tokens.shape}",
            hint="name the output that keeps time and frequency",
        )
    _, n_dims, n_time, n_freq = tokens.shape
    edges = facts.get("band_edges_hz")
    if edges is not None and len(edges) != n_freq + 1:
        raise EncoderError(
            f"{graph}: expected {n_freq + 1} band_edges_hz, found {len(edges)}",
            hint="one edge more than rows of the token map, or none if they are unknown",
        )
    return TokenGrid(
        n_dims, n_time, n_freq,
        float(facts.get("start_samples", 0)),
        float(facts.get("step_samples", n_samples / n_time)),
        None if edges is None else tuple(float(edge) for edge in edges),
    )  # fmt: skip
