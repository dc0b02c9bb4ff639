"""The head as an ONNX graph: the same bits as NumPy, and as little memory.

The rule for tokens, and where a tolerance is allowed at all: ``edge_probe/head/README.md``.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array
from onnx.reference import ReferenceEvaluator
from support.head_graphs import (
    expect,
    made_up,
    made_up_floats,
    made_up_tokens,
    operators,
    run,
    session,
)
from support.tiny_bundle import tiny_head

from edge_probe.bundle.operators import STANDARD
from edge_probe.encoder import session_options
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Head,
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
    PrototypeHead,
    SparseInt8Linear,
)
from edge_probe.head.packing import unpack_signs
from edge_probe.spec import TokenBits
from export.head_graph import head_model

ROOT = Path(__file__).parents[2]
INTEGER_BITS: list[TokenBits] = [1, 2, 3, 4, 5, 6, 7, 8]
LIMIT = float(np.float32(3.3e38))
finite = st.floats(-LIMIT, LIMIT, width=32)


@pytest.mark.parametrize("bits", [*INTEGER_BITS, "float"])
@pytest.mark.parametrize("n_dims", [1, 7, 64, 96, 130, 768, 1024])
def test_head_is_exact_for_every_precision(n_dims: int, bits: TokenBits) -> None:
    tokens = made_up_tokens(n_dims)
    for offset in (False, True):
        head = made_up(n_dims, 70, bits, offset=offset)
        expect(head, tokens, run(head_model(head), tokens=tokens))


@pytest.mark.parametrize("n_thresholds", [1, 2, 3])
@pytest.mark.parametrize("n_dims", [1, 7, 64, 96, 130])
def test_several_thresholds_per_dimension_are_exact(n_dims: int, n_thresholds: int) -> None:
    tokens = made_up_tokens(n_dims)
    head = made_up(n_dims, 70, 1, offset=True, n_thresholds=n_thresholds)
    tokens[1] = head.offset[:n_dims]  # on every first threshold, beyond the others
    model = head_model(head)
    onnx.checker.check_model(model, full_check=True)
    assert operators(model.graph) <= {("", name) for name in STANDARD}
    expect(head, tokens, run(model, tokens=tokens))


@pytest.mark.parametrize("n_classes", [1, 5, 10, 70])
def test_class_bound_head_is_exact(n_classes: int) -> None:
    head = made_up(130, 70, 1, offset=True)
    weights = np.random.default_rng(n_classes).normal(size=(n_classes, 70 // n_classes))
    rows = Int8Linear.from_float(weights, np.linspace(-1, 1, n_classes))
    linear = GroupedInt8Linear(rows.weights, rows.scale, rows.bias)
    head = dataclasses.replace(head, linear=linear)
    tokens = made_up_tokens(130)
    expect(head, tokens, run(head_model(head), tokens=tokens))


@pytest.mark.parametrize("n_own", [1, 2, 69, 70])
def test_sparse_layer_is_exact(n_own: int) -> None:
    rng = np.random.default_rng(n_own)
    columns = np.sort([rng.permutation(70)[:n_own] for _ in range(5)], axis=1).astype(np.int32)
    rows = Int8Linear.from_float(rng.normal(size=(5, n_own)), rng.normal(size=5))
    linear = SparseInt8Linear(rows.weights, columns, rows.scale, rows.bias, 70)
    tokens = made_up_tokens(130)
    for head in (made_up(130, 70, 1), made_up_floats(130, 70, floor=False)):
        head = dataclasses.replace(head, linear=linear)
        expect(head, tokens, run(head_model(head), tokens=tokens))


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("n_prototypes", [1, 63, 64, 65, 129, 420])
@pytest.mark.parametrize("n_dims", [1, 7, 130, 1024])
def test_float_prototypes(n_dims: int, n_prototypes: int, floor: bool) -> None:
    for n_tokens in (1, 9):  # one token: half of the cosines are negative
        tokens = made_up_tokens(n_dims, n_tokens)
        head = made_up_floats(n_dims, n_prototypes, floor=floor, offset=n_tokens == 1)
        found = run(head_model(head), tokens=tokens)
        expect(head, tokens, found)
        if n_tokens == 1 and n_prototypes > 1:
            assert found["scores"].min() == 0 if floor else found["scores"].min() < 0


@pytest.mark.parametrize("n_prototypes", [1, 7, 8, 9, 63, 64, 65, 72, 127, 128, 129, 420])
@pytest.mark.parametrize("n_tokens", [1, 2, 65])
def test_head_is_exact_around_block_sizes(n_prototypes: int, n_tokens: int) -> None:
    tokens = made_up_tokens(70, n_tokens)
    for bits in (1, 4):
        head = made_up(70, n_prototypes, bits)
        expect(head, tokens, run(head_model(head), tokens=tokens))


@pytest.mark.parametrize("n_classes", [1, 261, 262, 263, 525])
def test_linear_layer_is_exact_around_block_sizes(n_classes: int) -> None:
    """2^18 weights at a time: 262 rows of 1,000."""
    head = made_up(8, 1000, 1, n_classes=n_classes)
    tokens = made_up_tokens(8)
    expect(head, tokens, run(head_model(head), tokens=tokens))
    as_float = FloatLinear(head.linear.weights.astype(np.float32), head.linear.bias)
    head = dataclasses.replace(head, linear=as_float)
    expect(head, tokens, run(head_model(head), tokens=tokens))


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 40)), elements=finite),
    st.sampled_from(INTEGER_BITS),
)
def test_head_is_exact_on_any_finite_tokens(tokens: NDArray[np.float32], bits: TokenBits) -> None:
    head = made_up(tokens.shape[1], 9, bits)
    expect(head, tokens, run(head_model(head), tokens=tokens))


@pytest.mark.parametrize("bits", [1, 4, 8, "float"])
def test_token_equal_to_the_offset_scores_plus_zero(bits: TokenBits) -> None:
    heads: list[PrototypeHead] = [made_up(33, 20, bits, offset=True)]
    if bits == "float":
        heads += [made_up_floats(33, 20, floor=floor, offset=True) for floor in (False, True)]
    for head in heads:
        scores = run(head_model(head), tokens=head.offset[None])["scores"]
        assert scores.tobytes() == np.zeros(20, np.float32).tobytes()


def test_mean_linear_head() -> None:
    rng = np.random.default_rng(0)
    head = MeanLinearHead(FloatLinear(rng.normal(size=(3, 96)).astype(np.float32), np.arange(3.0)))
    tokens = rng.normal(size=(40, 96)).astype(np.float32)
    found = run(head_model(head), tokens=tokens)
    assert found.keys() == {"logits"}
    expect(head, tokens, found)


@pytest.mark.parametrize("level", ["DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"])
@pytest.mark.parametrize("bits", [1, 8])
def test_optimiser_of_the_runtime_changes_no_bit(level: str, bits: TokenBits) -> None:
    head, tokens = made_up(130, 70, bits, offset=True), made_up_tokens(130)
    options = session_options("low-memory")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    logits, scores = session(head_model(head), options).run(None, {"tokens": tokens})
    expect(head, tokens, {"logits": logits, "scores": scores})


@pytest.mark.parametrize("bits", [1, 4, 8, "float"])
def test_another_runtime_agrees(bits: TokenBits) -> None:
    """The reference evaluator of onnx shares no kernel with onnxruntime."""
    heads: list[Head] = [made_up(20, 70, bits, offset=True)]
    if bits == "float":
        heads += [
            made_up_floats(20, 70, floor=True, offset=True),
            tiny_head("float", "int8-sparse"),
        ]
    for head in heads:
        tokens = made_up_tokens(head.n_token_dims)
        logits, scores = ReferenceEvaluator(head_model(head)).run(None, {"tokens": tokens})
        expect(head, tokens, {"logits": np.asarray(logits), "scores": np.asarray(scores)})


@pytest.mark.parametrize(
    "head",
    [
        made_up(20, 70, 4),
        made_up(20, 9, "float"),
        made_up_floats(20, 9, floor=True),
        tiny_head(1, "int8-sparse"),
        tiny_head(1, "mean"),
    ],
)
def test_head_alone_is_standard_at_opset_18(head: Head) -> None:
    model = head_model(head)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    assert operators(model.graph) <= {("", name) for name in STANDARD}


CHILD = """
import sys
import numpy as np
import onnxruntime as ort
from edge_probe.measure import rss_mib
tokens = np.random.default_rng(0).normal(size=(512, 768)).astype(np.float32)
options = ort.SessionOptions()
options.intra_op_num_threads = 1
before = rss_mib()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for _ in range(3):
    session.run(None, {"tokens": tokens})
print(rss_mib() - before if before is not None else "none")
"""


def growth_mib(model: ModelProto, path: Path) -> float:
    """Resident memory that loading and running a model adds to a fresh process."""
    onnx.save(model, path)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], cwd=ROOT, capture_output=True, text=True,
        check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if "none" in done.stdout:
        pytest.skip("this system does not tell resident memory")
    return float(done.stdout)


def dense_model(head: ProtobinHead) -> ModelProto:
    """What everybody does: float32 prototypes, one MatMul, the maximum."""
    weights = np.ascontiguousarray(unpack_signs(head.prototypes, head.n_dims).T, np.float32)
    nodes = [
        helper.make_node("MatMul", ["tokens", "weights"], ["all"]),
        helper.make_node("ReduceMax", ["all", "axis"], ["scores"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes, "dense",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["T", head.n_dims])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [head.n_prototypes])],
        [from_array(weights, "weights"), from_array(np.array([0]), "axis")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_prototypes_stay_packed_in_memory(tmp_path: Path) -> None:
    """10,000 prototypes of 768 bits are 0.9 MiB; in int8 they would be 7.3, in float32 29.3.

    Measured: 1.6 MiB more than for 64 prototypes, 34 if unpacked outside of the Scan, 70 if dense.
    """
    few = growth_mib(head_model(made_up(768, 64, 1)), tmp_path / "few.onnx")
    many_head = made_up(768, 10_000, 1)
    many = growth_mib(head_model(many_head), tmp_path / "many.onnx")
    dense = growth_mib(dense_model(many_head), tmp_path / "dense.onnx")
    assert many - few < 5
    assert many < dense / 2
