"""A checkpoint becomes an encoder graph with its card."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from edge_probe.encoder import session_options
from edge_probe.errors import EncoderError
from export.card import EncoderCard, write_card
from export.encoders.encoder import Loaded, tokens_of
from export.encoders.model import whole_or_nothing
from export.torch_graph import write_graph

MAX_DIFFERENCE = 1e-5
"""Between torch and onnxruntime, of the largest component of a token, or of 1."""

_SEED = 20_240_901


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a conversion."""

    card: EncoderCard
    difference: float
    """Largest difference of a token between torch and the graph, as `MAX_DIFFERENCE` counts."""


def convert(loaded: Loaded, graph: Path, *, name: str | None = None) -> Converted:
    """Write an encoder as an ONNX graph, prove it, and write its card beside it.

    Parameters
    ----------
    loaded : Loaded
    graph : Path
        ``NAME.onnx``; its folder is made if need be. Weights above 128 MiB stand in
        ``NAME.onnx.data``.
    name : str, optional
        For the card; default: the family's title and the file's name.

    Raises
    ------
    EncoderError
        The graph computes other tokens than torch, no card can be written, or no bundle may hold
        a file of that name. Nothing is left.
    """
    with whole_or_nothing(graph):
        write_graph(loaded.module, loaded.chunk_samples, graph, loaded.module.outputs)
        difference = _difference(loaded, graph)
        if not difference <= MAX_DIFFERENCE:
            raise EncoderError(
                f"{graph}: its tokens are {difference:.1e} from torch's; at most "
                f"{MAX_DIFFERENCE:.0e} is allowed",
                hint="are the weights of a finished training? Please report the checkpoint",
            )
        return Converted(write_card(graph, _facts(loaded, name, difference)), difference)


def probe_waveform(n_samples: int) -> NDArray[np.float32]:
    """Noise at -20 dB of full scale that swells and fades, the same for every caller: (n,)."""
    noise = np.random.default_rng(_SEED).uniform(-1, 1, n_samples)
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * 3 * np.arange(n_samples) / n_samples)
    return (0.2 * noise * swell).astype(np.float32)


def _difference(loaded: Loaded, graph: Path) -> float:
    waveform = probe_waveform(loaded.chunk_samples)[None]
    session = ort.InferenceSession(
        str(graph), session_options("fast"), providers=["CPUExecutionProvider"]
    )
    found = session.run(list(loaded.module.outputs), {"waveform": waveform})
    expected = tokens_of(loaded.module, torch.from_numpy(waveform))
    return max(
        float(np.abs(ours - theirs.numpy()).max()) / max(1.0, float(theirs.abs().max()))
        for ours, theirs in zip(found, expected, strict=True)
    )


def _facts(loaded: Loaded, name: str | None, difference: float) -> dict[str, object]:
    family, grid, path = loaded.family, loaded.grid, loaded.named.checkpoint.path
    facts: dict[str, object] = {
        "name": f"{family.title}: {path.stem}" if name is None else name,
        "licence": family.weights.licence,
        "sample_rate_hz": family.front_end.sample_rate_hz,
        "chunk_samples": loaded.chunk_samples,
        "input": "waveform",
        "output": "tokens",
        "start_samples": grid.start_samples,
        "step_samples": grid.step_samples,
    }
    if grid.band_edges_hz is not None:
        facts["band_edges_hz"] = list(grid.band_edges_hz)
    if loaded.module.n_cls:
        facts["cls"] = "cls"
    facts["steps"] = [
        {
            "what": "converted",
            "family": family.title,
            "checkpoint": path.name,
            "checkpoint_sha256": _sha256(path),
            "depth": loaded.size.depth,
            "heads": loaded.size.heads,
            "largest_difference_to_torch": float(f"{difference:.2g}"),
        }
    ]
    return facts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
