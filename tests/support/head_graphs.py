"""Heads as ONNX graphs: made-up heads and tokens, and what their outputs must equal."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from edge_probe.head import (
    FloatLinear,
    Head,
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
    ProtofloatHead,
)
from edge_probe.head.packing import pack_signs
from edge_probe.head.protofloat import unit_length
from edge_probe.spec import TokenBits

Array = NDArray[Any]


def made_up(
    n_dims: int,
    n_prototypes: int,
    bits: TokenBits,
    *,
    n_classes: int = 5,
    offset: bool = False,
    n_thresholds: int = 1,
) -> ProtobinHead:
    n_dims *= n_thresholds
    rng = np.random.default_rng([n_dims, n_prototypes])
    weights, bias = rng.normal(size=(n_classes, n_prototypes)), rng.normal(size=n_classes)
    return ProtobinHead(
        pack_signs(rng.normal(size=(n_prototypes, n_dims))),
        (rng.normal(size=n_dims) * offset).astype(np.float32),
        bits,
        Int8Linear.from_float(weights, bias),
        np.zeros(n_prototypes, np.float32),
        n_thresholds,
    )


def made_up_floats(
    n_dims: int, n_prototypes: int, *, floor: bool, offset: bool = False
) -> ProtofloatHead:
    like = made_up(n_dims, n_prototypes, "float", offset=offset)
    vectors = np.random.default_rng(n_prototypes).normal(size=(n_prototypes, n_dims))
    prototypes = unit_length(vectors)
    return ProtofloatHead(prototypes, like.offset, like.linear, like.reference_scores, floor)


def made_up_tokens(n_dims: int, n_tokens: int = 9) -> NDArray[np.float32]:
    """Of wildly different loudness, one all zero."""
    rng = np.random.default_rng(n_dims)
    loudness = rng.choice([1e-42, 1e-20, 1.0, 1e20, 1e37], (n_tokens, 1)).astype(np.float32)
    tokens = rng.normal(size=(n_tokens, n_dims)).astype(np.float32) * loudness
    tokens[3 % n_tokens] = 0
    return tokens


def session(model: ModelProto, options: ort.SessionOptions | None = None) -> ort.InferenceSession:
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(model: ModelProto, **inputs: Array) -> dict[str, Array]:
    names = [output.name for output in model.graph.output]
    return dict(zip(names, session(model).run(names, inputs), strict=True))


def expect(head: Head, tokens: NDArray[np.float32], found: dict[str, Array]) -> None:
    """Outputs of a graph are those of NumPy: to the bit, or to the documented tolerance."""
    valid = np.ones(len(tokens), bool)
    if isinstance(head, MeanLinearHead):
        window = head.merge([head.summarise(tokens, valid)])
        inputs, logits = window.total / window.count, head.logits(window)
    else:
        scores = head.summarise(tokens, valid).scores
        assert found["scores"].dtype == np.float32
        if head.bits == "float":
            np.testing.assert_allclose(found["scores"], scores, atol=1e-6, rtol=0)
        else:
            assert found["scores"].tobytes() == scores.tobytes()
        inputs, logits = found["scores"], head.linear.logits(found["scores"])
    assert found["logits"].dtype == np.float64
    if isinstance(head.linear, FloatLinear):
        tolerance = 1e-5 * (np.abs(head.linear.weights) @ np.abs(inputs))
        assert (np.abs(found["logits"] - logits) <= tolerance).all()
    else:
        assert found["logits"].tobytes() == logits.tobytes()


def operators(graph: onnx.GraphProto) -> set[tuple[str, str]]:
    found = {(node.domain, node.op_type) for node in graph.node}
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found
