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
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from edge_probe.encoder import Encoder
from edge_probe.head import Int8Linear, MeanLinearHead, ProtobinHead, backends
from edge_probe.head.packing import unpack_signs
from edge_probe.head.quantize import STEP_RMS, Digits

FLOAT_SCORE_TOLERANCE = 1e-6
"""Absolute, of a score whose sum or scale was rounded in another order."""

_OPSET, _IR_VERSION = 18, 8


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
        Encoder sessions against each other; from the same tokens digits in torch; from the same
        digits scores of every kernel, of torch and of onnxruntime; from the same scores logits in
        torch.
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
    head_stages = (
        _mean_stages(bundle.head, tokens, valid)
        if isinstance(bundle.head, MeanLinearHead)
        else _protobin_stages(bundle.head, tokens, valid)
    )
    return [Stage(name, _apart(tokens, other), 1e-3 * scale), *head_stages]


def _protobin_stages(
    head: ProtobinHead, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    digits = [head.digits(token, mask) for token, mask in zip(tokens, valid, strict=True)]
    stages = []
    if head.bits != "float":
        in_torch = [torch_digits(head, token).numpy() for token in tokens]
        stages.append(Stage("digits: torch", _apart([d.values for d in digits], in_torch), 0.0))
    chosen = [head.backend.max_scores(each, head.prototypes)[0] for each in digits]
    exact = 0.0 if head.bits != "float" else FLOAT_SCORE_TOLERANCE
    for backend in backends.available(head.bits, head.n_dims):
        scores = [backend.max_scores(each, head.prototypes)[0] for each in digits]
        stages.append(Stage(f"scores: {backend.name}", _apart(chosen, scores), exact))
    session = onnx_scores(head)
    in_graph = [session(each) for each in digits]
    stages.append(Stage("scores: onnxruntime", _apart(chosen, in_graph), exact))
    cosines = [torch_scores(head, token, mask) for token, mask in zip(tokens, valid, strict=True)]
    stages.append(Stage("scores: torch cosine", _apart(chosen, cosines), FLOAT_SCORE_TOLERANCE))
    logits = [head.linear.logits(score) for score in chosen]
    name = f"logits: torch, {head.linear.kind}"
    return [*stages, _logit_stage(name, head, chosen, logits)]


def _mean_stages(
    head: MeanLinearHead, tokens: list[NDArray[np.float32]], valid: list[NDArray[np.bool_]]
) -> list[Stage]:
    logits = [
        head.logits(head.summarise(token, mask)) for token, mask in zip(tokens, valid, strict=True)
    ]
    means = [
        torch.tensor(token[mask]).double().mean(dim=0).numpy() if mask.any() else 0 * token[0]
        for token, mask in zip(tokens, valid, strict=True)
    ]
    return [_logit_stage("logits: torch, mean token", head, means, logits)]


def _logit_stage(
    name: str,
    head: ProtobinHead | MeanLinearHead,
    inputs: Sequence[NDArray[np.floating]],
    logits: list[NDArray[np.float64]],
) -> Stage:
    """The linear layer in torch; the tolerance is that of DESIGN section 3."""
    in_torch = [_torch_logits(head, each) for each in inputs]
    if isinstance(head.linear, Int8Linear):
        return Stage(name, _apart(logits, in_torch), 0.0)
    weights = np.abs(head.linear.weights.astype(np.float64))
    size = max(float((weights @ np.abs(each)).max()) for each in inputs)
    return Stage(name, _apart(logits, in_torch), 1e-5 * size)


def torch_digits(head: ProtobinHead, tokens: NDArray[np.float32]) -> Tensor:
    """The quantiser of `edge_probe.head.quantize`, a second time and by other operations.

    Parameters
    ----------
    head : ProtobinHead
        With integer digits.
    tokens : (T, D) float32

    Returns
    -------
    (T, D) uint8 tensor
    """
    if head.bits == "float":
        raise ValueError("float tokens have no digits")
    centred = torch.tensor(tokens) - torch.tensor(head.offset)
    if head.bits == 1:
        return (centred >= 0).byte()
    exponent = torch.frexp(centred.abs().amax(dim=1)).exponent
    grid = torch.ldexp(centred.double(), 15 - exponent[:, None]).round()
    step = (grid.square().sum(dim=1) / head.n_dims).sqrt() * STEP_RMS[head.bits]
    per_step = torch.where(step > 0, 1 / step, 0.0).float()
    level = (grid.float() * per_step[:, None]).floor() + 2.0 ** (head.bits - 1)
    return level.clamp(0, 2**head.bits - 1).byte()


def torch_scores(
    head: ProtobinHead, tokens: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Prototype scores by torch's own norm and matmul, from unpacked prototypes."""
    prototypes = torch.tensor(unpack_signs(head.prototypes, head.n_dims)).double()
    centred = torch.tensor(tokens) - torch.tensor(head.offset)
    alive = (centred != 0).any(dim=1) & torch.tensor(valid)
    values = centred.double()
    if head.bits != "float":
        values = 2 * torch_digits(head, tokens).double() - (2**head.bits - 1)
    norms = values.norm(dim=1).masked_fill(~alive, torch.inf)
    cosines = prototypes @ (values / norms[:, None]).T / head.n_dims**0.5
    best: NDArray[np.float32] = cosines.amax(dim=1).float().numpy()
    return best


def onnx_scores(head: ProtobinHead) -> Callable[[Digits], NDArray[np.float32]]:
    """Prototype scores by standard operators in onnxruntime: MatMulInteger on ±1 int8.

    ``K = 2 sum_d p_d u_d - (2^B - 1) sum_d p_d``; float tokens take MatMul.
    """
    signs = unpack_signs(head.prototypes, head.n_dims).T
    floats = head.bits == "float"
    constants: dict[str, Any] = {
        "signs": signs.astype(np.float32) if floats else np.ascontiguousarray(signs)
    }
    product = "MatMul" if floats else "MatMulInteger"
    nodes = [helper.make_node(product, ["digits", "signs"], ["sums"])]
    if not floats:
        top = np.int32(2 ** int(head.bits) - 1)
        constants |= {"two": np.int32(2), "level": top * signs.sum(axis=0, dtype=np.int32)}
        nodes += [
            helper.make_node("Mul", ["sums", "two"], ["doubled"]),
            helper.make_node("Sub", ["doubled", "level"], ["integers"]),
            helper.make_node("Cast", ["integers"], ["sums32"], to=TensorProto.FLOAT),
        ]
    nodes += [
        helper.make_node("Mul", ["sums" if floats else "sums32", "scale"], ["scores"]),
        helper.make_node("ReduceMax", ["scores", "tokens"], ["best"], keepdims=0),
    ]
    constants["tokens"] = np.array([0], np.int64)
    kind = TensorProto.FLOAT if floats else TensorProto.UINT8
    graph = helper.make_graph(
        nodes, "scores",
        [
            helper.make_tensor_value_info("digits", kind, ["T", head.n_dims]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["T", 1]),
        ],
        [helper.make_tensor_value_info("best", TensorProto.FLOAT, [head.n_prototypes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def scores(digits: Digits) -> NDArray[np.float32]:
        feed = {"digits": digits.values, "scale": digits.scale[:, None]}
        (best,) = session.run(None, feed)
        found: NDArray[np.float32] = best
        return found

    return scores


def _torch_logits(
    head: ProtobinHead | MeanLinearHead, inputs: NDArray[np.floating]
) -> NDArray[np.float64]:
    linear = head.linear
    if isinstance(linear, Int8Linear):
        integers = torch.round(torch.tensor(inputs) * 2**20).long()
        sums = torch.tensor(linear.weights).long() @ integers
        return (torch.tensor(linear.scale) * 2.0**-20 * sums + torch.tensor(linear.bias)).numpy()
    weights = torch.tensor(linear.weights)
    return (weights @ torch.tensor(inputs).float() + torch.tensor(linear.bias)).numpy()


def _apart(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> float:
    """Largest absolute difference of two lists of arrays."""
    return max(
        float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(one, other, strict=True)
    )
