"""Torch, packed kernels and onnxruntime on the same audio, stage by stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.encoder import Encoder
from edge_probe.head import Int8Linear, ProtobinHead, backends
from edge_probe.head.packing import unpack_signs

FLOAT_SCORE_TOLERANCE = 1e-6
TORCH_TOLERANCE = 2e-6
"""Float32 sums of up to some thousand cosine terms, in another order."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One comparison."""

    name: str
    max_error: float
    tolerance: float
    """0 where the contract is equality of bits."""

    @property
    def passed(self) -> bool:
        """Whether the contract holds."""
        return self.max_error <= self.tolerance


def compare(bundle: Bundle, chunks: list[Chunk]) -> list[Stage]:
    """Compare every implementation of every stage on these chunks.

    Parameters
    ----------
    bundle : Bundle
    chunks : list of Chunk
        At least one.

    Returns
    -------
    list of Stage
        Encoder sessions against each other; then, from the same tokens, torch and every kernel
        against the chosen one; then the linear layer in torch.
    """
    low, fast = (
        Encoder(bundle.graph_path, bundle.encoder, profile=profile)
        for profile in ("low-memory", "fast")
    )
    tokens = [low.tokens(chunk.samples) for chunk in chunks]
    scale = max(float(np.abs(token).max()) for token in tokens)
    other = [fast.tokens(chunk.samples) for chunk in chunks]
    stages = [
        Stage("onnxruntime tokens: fast against low-memory", _apart(tokens, other), 1e-3 * scale)
    ]
    if isinstance(bundle.head, ProtobinHead):
        valid = [bundle.encoder.grid.valid_tokens(chunk.n_valid) for chunk in chunks]
        stages += _head_stages(bundle.head, tokens, valid)
    return stages


def _head_stages(
    head: ProtobinHead, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    digits = [head.digits(token, mask) for token, mask in zip(tokens, valid, strict=True)]
    chosen = [head.backend.max_scores(each, head.prototypes)[0] for each in digits]
    stages = []
    for backend in backends.available(head.bits, head.n_dims):
        scores = [backend.max_scores(each, head.prototypes)[0] for each in digits]
        tolerance = FLOAT_SCORE_TOLERANCE if head.bits == "float" else 0.0
        stages.append(Stage(f"scores: {backend.name}", _apart(chosen, scores), tolerance))
    in_torch = [torch_scores(head, token, mask) for token, mask in zip(tokens, valid, strict=True)]
    name = "scores: torch" + ("" if head.bits in ("float", 1) else " on the digits' values")
    stages.append(Stage(name, _apart(chosen, in_torch), TORCH_TOLERANCE))
    logits = [head.linear.logits(score) for score in chosen]
    torch_logits = [_torch_logits(head, score) for score in chosen]
    exact = isinstance(head.linear, Int8Linear)
    size = max(float(np.abs(head.linear.row(c)).sum()) for c in range(head.n_classes))
    tolerance = 0.0 if exact else 1e-5 * size
    stages.append(
        Stage(f"logits: torch, {head.linear.kind}", _apart(logits, torch_logits), tolerance)
    )
    return stages


def torch_scores(
    head: ProtobinHead, tokens: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Prototype scores by torch's own normalise and matmul, from unpacked prototypes."""
    prototypes = torch.tensor(unpack_signs(head.prototypes, head.n_dims)).float()
    centred = torch.tensor(tokens - head.offset)
    alive = (centred != 0).any(dim=1) & torch.tensor(valid)
    if head.bits == 1:
        centred = torch.where(centred >= 0, 1.0, -1.0)
    elif head.bits != "float":
        values = torch.tensor(head.digits(tokens, valid).values.astype(np.float32))
        centred = 2 * values - (2**head.bits - 1)
    unit = torch.nn.functional.normalize(centred.double(), dim=1) * alive[:, None]
    cosines = prototypes.double() @ unit.T / head.n_dims**0.5
    best: NDArray[np.float32] = cosines.amax(dim=1).float().numpy()
    return best


def _torch_logits(head: ProtobinHead, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    if isinstance(head.linear, Int8Linear):
        integers = torch.round(torch.tensor(scores) * 2**20).long()
        sums = torch.tensor(head.linear.weights).long() @ integers
        scale = torch.tensor(head.linear.scale) * 2.0**-20
        return (scale * sums + torch.tensor(head.linear.bias)).numpy()
    weights = torch.tensor(head.linear.weights)
    return (weights @ torch.tensor(scores) + torch.tensor(head.linear.bias)).numpy()


def _apart(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
