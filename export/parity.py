"""Torch, packed kernels and onnxruntime on the same audio, stage by stage.

Each stage starts from the same input in every implementation, so that a broken one is named.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.encoder import Encoder
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Head,
    MeanLinearHead,
    ProtobinHead,
    ProtofloatHead,
    PrototypeHead,
    SparseInt8Linear,
)
from edge_probe.head.packing import unpack_signs
from edge_probe.head.quantize import STEP_RMS, Digits
from export.head_graph import digits_model, head_model, logits_model, scores_model

FLOAT_SCORE_TOLERANCE = 1e-6
"""Absolute, of a score whose sum or scale was rounded in another order."""


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
        Encoder sessions against each other; from the same tokens digits in torch and in
        onnxruntime; from the same digits scores of every kernel, of torch and of onnxruntime;
        from the same scores logits in torch and in onnxruntime.
    """
    low, fast = (
        Encoder(bundle.graph_path, bundle.encoder, profile=profile)
        for profile in ("low-memory", "fast")
    )
    tokens = [low.tokens(chunk.samples) for chunk in chunks]
    scale = max(float(np.abs(token).max()) for token in tokens)
    other = [fast.tokens(chunk.samples) for chunk in chunks]
    name = "tokens: onnxruntime, fast against low-memory"
    valid = [bundle.encoder.grid.valid_tokens(chunk.n_valid) for chunk in chunks]
    encoders = Stage(name, _apart(tokens, other), 1e-3 * scale)
    return [encoders, *head_stages(bundle.head, tokens, valid)]


def head_stages(
    head: Head, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    """Every stage after the encoder, from the same tokens (T, D) and masks (T,)."""
    if isinstance(head, MeanLinearHead):
        return _mean_stages(head, tokens, valid)
    return _prototype_stages(head, tokens, valid)


def _prototype_stages(
    head: PrototypeHead, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    heard = [
        token[mask] if mask.any() else token for token, mask in zip(tokens, valid, strict=True)
    ]
    tokens, valid = heard, [np.ones(len(token), bool) for token in heard]
    digits = [head.digits(token, mask) for token, mask in zip(tokens, valid, strict=True)]
    chosen = [head.match(each)[0] for each in digits]
    exact = 0.0 if head.bits != "float" else FLOAT_SCORE_TOLERANCE
    stages = _digit_stages(head, tokens, valid, digits)
    for kernel, matcher in head.matchers():
        scores = [matcher(each)[0] for each in digits]
        stages.append(Stage(f"scores: {kernel}", _apart(chosen, scores), exact))
    match = onnx_scores(head)
    in_graph = [match(each) for each in digits]
    stages.append(Stage("scores: onnxruntime", _apart(chosen, in_graph), exact))
    cosines = [torch_scores(head, token, mask) for token, mask in zip(tokens, valid, strict=True)]
    stages.append(Stage("scores: torch cosine", _apart(chosen, cosines), FLOAT_SCORE_TOLERANCE))
    logits = [head.linear.logits(score) for score in chosen]
    linear = _onnx(logits_model(head))
    found = {
        "torch": [torch_logits(head, score) for score in chosen],
        "onnxruntime": [linear(scores=score)[0] for score in chosen],
    }
    return [*stages, *_logit_stages(head, chosen, logits, found)]


def _digit_stages(
    head: PrototypeHead,
    tokens: list[NDArray[np.float32]],
    valid: list[NDArray[np.bool_]],
    digits: list[Digits],
) -> list[Stage]:
    """Digits of every token; scales of the valid ones, because neither graph knows masks."""
    quantise = onnx_digits(head)
    in_graph = [quantise(token) for token in tokens]
    pairs = list(zip(digits, in_graph, valid, strict=True))
    error = _apart([each.values for each in digits], [each.values for each in in_graph])
    scales = [(ours.scale[mask], theirs.scale[mask]) for ours, theirs, mask in pairs if mask.any()]
    error = max([error, *(_apart([ours], [theirs]) for ours, theirs in scales)])
    if head.bits == "float":
        return [Stage("digits: onnxruntime", error, FLOAT_SCORE_TOLERANCE)]
    in_torch = [torch_digits(head, token).numpy() for token in tokens]
    apart = _apart([each.values for each in digits], in_torch)
    return [Stage("digits: torch", apart, 0.0), Stage("digits: onnxruntime", error, 0.0)]


def _mean_stages(
    head: MeanLinearHead, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    pairs = list(zip(tokens, valid, strict=True))
    logits = [head.logits(head.summarise(token, mask)) for token, mask in pairs]
    # The mean of no tokens is zero.
    kept = [token[mask] if mask.any() else 0 * token[:1] for token, mask in pairs]
    means = [torch.tensor(token).double().mean(dim=0).numpy() for token in kept]
    graph = _onnx(head_model(head))
    found = {
        "torch": [torch_logits(head, mean) for mean in means],
        "onnxruntime": [graph(tokens=token)[0] for token in kept],
    }
    return _logit_stages(head, means, logits, found)


def _logit_stages(
    head: Head,
    inputs: Sequence[NDArray[np.floating]],
    logits: list[NDArray[np.float64]],
    found: dict[str, list[NDArray[np.float64]]],
) -> list[Stage]:
    """The linear layer elsewhere; the tolerance is that of DESIGN section 3."""
    tolerance = 0.0
    if isinstance(head.linear, FloatLinear):
        weights = np.abs(head.linear.weights.astype(np.float64))
        tolerance = 1e-5 * max(float((weights @ np.abs(each)).max()) for each in inputs)
    return [
        Stage(f"logits: {name}, {head.linear.kind}", _apart(logits, others), tolerance)
        for name, others in found.items()
    ]


def torch_digits(head: PrototypeHead, tokens: NDArray[np.float32]) -> Tensor:
    """The quantiser of `edge_probe.head.quantize`, a second time and by other operations.

    Parameters
    ----------
    head : PrototypeHead
        With integer digits.
    tokens : (T, D) float32

    Returns
    -------
    (T, R D) uint8 tensor
    """
    if head.bits == "float":
        raise ValueError("float tokens have no digits")
    centred = _centred(head, tokens)
    if head.bits == 1:
        return (centred >= 0).byte()
    exponent = torch.frexp(centred.abs().amax(dim=1)).exponent
    grid = torch.ldexp(centred.double(), 15 - exponent[:, None]).round()
    step = (grid.square().sum(dim=1) / head.n_dims).sqrt() * STEP_RMS[head.bits]
    per_step = torch.where(step > 0, 1 / step, 0.0).float()
    level = (grid.float() * per_step[:, None]).floor() + 2.0 ** (head.bits - 1)
    return level.clamp(0, 2**head.bits - 1).byte()


def _centred(head: PrototypeHead, tokens: NDArray[np.float32]) -> Tensor:
    """(T, D) tokens less each of the R offsets: (T, R D)."""
    return torch.tensor(tokens).repeat(1, head.n_thresholds) - torch.tensor(head.offset)


def torch_scores(
    head: PrototypeHead, tokens: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Prototype scores by torch's own norms and matmul, from prototypes that are not packed."""
    if valid.any():
        tokens, valid = tokens[valid], valid[valid]
    rows = head.prototypes
    if isinstance(head, ProtobinHead):
        rows = unpack_signs(rows, head.n_dims)
    prototypes = torch.tensor(rows).double()
    centred = _centred(head, tokens)
    alive = (centred != 0).any(dim=1) & torch.tensor(valid)
    values = centred.double()
    if head.bits != "float":
        values = 2 * torch_digits(head, tokens).double() - (2**head.bits - 1)
    norms = values.norm(dim=1).masked_fill(~alive, torch.inf)
    cosines = prototypes @ (values / norms[:, None]).T / prototypes.norm(dim=1, keepdim=True)
    if isinstance(head, ProtofloatHead) and head.floor_at_zero:
        cosines = cosines.relu()
    best: NDArray[np.float32] = cosines.amax(dim=1).float().numpy()
    return best


def onnx_digits(head: PrototypeHead) -> Callable[[NDArray[np.float32]], Digits]:
    """The quantiser in onnxruntime: (T, D) float32 valid tokens -> Digits."""
    run = _onnx(digits_model(head))

    def digits(tokens: NDArray[np.float32]) -> Digits:
        values, scale = run(tokens=tokens)
        return Digits(values, scale[:, 0], head.bits)

    return digits


def onnx_scores(head: PrototypeHead) -> Callable[[Digits], NDArray[np.float32]]:
    """Prototype scores in onnxruntime: Digits -> (M,) float32."""
    run = _onnx(scores_model(head))

    def scores(digits: Digits) -> NDArray[np.float32]:
        (best,) = run(digits=digits.values, scale=digits.scale[:, None])
        found: NDArray[np.float32] = best
        return found

    return scores


def _onnx(model: ModelProto) -> Callable[..., list[NDArray[Any]]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(**inputs: NDArray[Any]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = session.run(None, inputs)
        return outputs

    return run


def torch_logits(head: Head, inputs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits of one window in torch: (M,) scores or the (D,) mean token -> (C,) float64."""
    linear = head.linear
    if not isinstance(linear, FloatLinear):
        integers = torch.round(torch.tensor(inputs) * 2**20).long()
        weights = torch.tensor(linear.weights).long()
        if isinstance(linear, GroupedInt8Linear):
            sums = (weights * integers.reshape(weights.shape)).sum(dim=1)
        elif isinstance(linear, SparseInt8Linear):
            sums = (weights * integers[torch.tensor(linear.columns).long()]).sum(dim=1)
        else:
            sums = weights @ integers
        step = torch.tensor(linear.scale) * 2.0**-20
        return (step * sums + torch.tensor(linear.bias)).numpy()
    return (
        torch.tensor(linear.weights) @ torch.tensor(inputs).float() + torch.tensor(linear.bias)
    ).numpy()


def _apart(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> float:
    """Largest absolute difference of two lists of arrays."""
    return max(
        float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(one, other, strict=True)
    )
