"""Heads that somebody would train on the same tokens, as files that onnxruntime or we run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.nn import functional

from edge_probe.encoder import session_options
from edge_probe.head import Head as DeviceHead
from edge_probe.head.linear import layer_bytes
from export.compare.measure import Parts, device_logits
from export.compare.trials import Trial
from export.heads import Head
from export.heads.pooled import MeanLinear, SummaryMlp
from export.heads.protobin import Protobin, TrainedHead
from export.heads.prototypes import ProtoFloat
from export.metrics import quality
from export.train import (
    Bags,
    Configuration,
    Recipe,
    binarise,
    logits_of,
    mean_linear_runtime,
    pack,
    train_head,
)

PROTOTYPES_PER_CLASS = 20
OPSET, IR_VERSION = 17, 8

TOLERANCE = 1e-4
"""Between a graph and the head it was made of, as a share of the largest logit."""

HEADS = ("linear-mean", "mlp", "protofloat", "protobin-offset")


@dataclass(frozen=True, slots=True)
class Contender:
    """One thing that is compared."""

    name: str
    who: str
    """"ours", or "peer"."""
    head: DeviceHead | Path
    """Ours, or an ONNX graph."""
    pools: bool
    """Whether the head takes the mean token of a clip instead of its tokens."""

    def logits(self, bags: Bags) -> NDArray[np.float64]:
        """Of whole clips, from cached tokens: (N, C)."""
        if not isinstance(self.head, Path):
            return device_logits(self.head, bags)
        session = ort.InferenceSession(
            str(self.head), session_options("fast"), providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        rows = []
        for tokens, valid in bags.rows():
            heard = tokens[valid].astype(np.float32)
            heard = heard.mean(axis=0, keepdims=True) if self.pools else heard
            rows.append(session.run(None, {name: heard})[0][0])
        return np.stack(rows)

    def n_bytes(self) -> int:
        """Of the graph, or of the arrays of the head."""
        if isinstance(self.head, Path):
            return self.head.stat().st_size
        packed = getattr(self.head, "prototypes", np.empty(0))
        return int(packed.nbytes) + layer_bytes(self.head.linear)


def trials(found: Mapping[str, Mapping[str, float]], epochs: int) -> dict[str, Trial]:
    """How each head is trained: learning rate and dropout that were found for it before."""
    chosen = {}
    for head in HEADS:
        options = dict(found.get(head, {}))
        rate = options.pop("learning_rate", Recipe().learning_rate)
        chosen[head] = Trial(Recipe(epochs=epochs, learning_rate=rate), options)
    return chosen


def contenders(
    parts: Parts, trials: Mapping[str, Trial], seed: int, folder: Path
) -> Iterator[Contender]:
    """Train each head with one seed, and give all forms of it.

    Parameters
    ----------
    parts : Parts
    trials : mapping of head to Trial
        As of `trials`.
    seed : int
    folder : Path
        For graphs; it exists.
    """
    for name, trial in trials.items():
        configuration = Configuration(name, PROTOTYPES_PER_CLASS, trial.options, trial.recipe)
        module = train_head(configuration, parts.train, seed=seed, validation=parts.validation)
        for number, form in enumerate(_forms(module, parts, trial, seed, folder)):
            if number == 0 and form.who == "peer":
                _check(form, module, parts.validation)
            yield form


def _check(graph: Contender, module: Head, bags: Bags) -> None:
    """The float graph computes what was trained: no peer is worse for a mistake of ours."""
    found, trained = graph.logits(bags), logits_of(module, bags)
    off = float(np.abs(found - trained).max() / np.abs(trained).max())
    if not off <= TOLERANCE:
        raise SystemExit(f"{graph.name}: the graph is off by {off:.1e} from the trained head")


def _forms(
    module: Head, parts: Parts, trial: Trial, seed: int, folder: Path
) -> Iterator[Contender]:
    if isinstance(module, MeanLinear):
        yield _graph("linear probe, float32", _dense([module.linear]), folder, pools=True)
        yield Contender("linear probe", "ours", mean_linear_runtime(module), True)
    elif isinstance(module, SummaryMlp):
        yield _graph("MLP on the mean, float32", _dense([module.hidden, module.linear]), folder,
                     pools=True)  # fmt: skip
    elif isinstance(module, ProtoFloat):
        whole = _graph("float prototypes, float32", _prototypes(module), folder, pools=False)
        yield whole
        assert isinstance(whole.head, Path)
        small = folder / "float prototypes, int8.onnx"
        quantize_dynamic(whole.head, small, weight_type=QuantType.QInt8)
        yield replace(whole, name=small.stem, head=small)
    elif isinstance(module, Protobin):
        trained = TrainedHead.of(module, parts.train.in_order())
        for bits in (8, 4):
            packed = pack(trained, parts.train, bits, "int8")
            yield Contender(f"protobin, {bits}-bit tokens", "ours", packed, False)
        binarise(module, parts.train, trial.onward, seed=seed, validation=parts.validation)
        trained = TrainedHead.of(module, parts.train.in_order())
        packed = pack(trained, parts.train, 1, "int8")
        yield Contender("protobin, 1-bit tokens", "ours", packed, False)


def percent(logits: NDArray[np.floating], bags: Bags) -> float:
    """Macro mAP."""
    value = quality(logits, bags.targets).macro_map
    assert value is not None, "no class has a clip with it and one without"
    return round(100 * value, 3)


def _graph(
    name: str, nodes: tuple[list[onnx.NodeProto], list[onnx.TensorProto]], folder: Path, *,
    pools: bool,
) -> Contender:  # fmt: skip
    path = folder / f"{name}.onnx"
    inner, constants = nodes
    n_dims = next(c.dims[0] for c in constants if c.name == "W0")
    found = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", n_dims])
    given = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "C"])
    model = helper.make_model(
        helper.make_graph(inner, "head", [found], [given], constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
    )  # fmt: skip
    onnx.save(model, path)
    return Contender(name, "peer", path, pools)


def _dense(layers: Sequence[nn.Linear]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Linear layers with ReLU between them."""
    nodes, constants, at = [], [], "x"
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        constants += [_constant(f"W{number}", layer.weight.T), _constant(f"b{number}", layer.bias)]
        nodes.append(helper.make_node("MatMul", [at, f"W{number}"], [f"m{number}"]))
        at = "logits" if last else f"a{number}"
        nodes.append(helper.make_node("Add", [f"m{number}", f"b{number}"], [at]))
        if not last:
            nodes.append(helper.make_node("Relu", [at], [f"r{number}"]))
            at = f"r{number}"
    return nodes, constants


def _prototypes(head: ProtoFloat) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Cosines with every token, the maximum, a linear layer."""
    unit = functional.normalize(head.prototypes, dim=1)
    nodes = [
        helper.make_node("LpNormalization", ["x"], ["unit"], axis=1, p=2),
        helper.make_node("MatMul", ["unit", "W0"], ["cosines"]),
        helper.make_node("ReduceMax", ["cosines"], ["best"], axes=[0], keepdims=1),
        helper.make_node("MatMul", ["best", "W1"], ["sums"]),
        helper.make_node("Add", ["sums", "b1"], ["logits"]),
    ]
    constants = [_constant("W0", unit.T), _constant("W1", head.linear.weight.T),
                 _constant("b1", head.linear.bias)]  # fmt: skip
    return nodes, constants


def _constant(name: str, value: torch.Tensor) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(value.detach().numpy()), name)
