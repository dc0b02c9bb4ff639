"""Encoder and head as one ONNX file, for whoever has an ONNX runtime and nothing of ours."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, version_converter

from edge_probe.bundle import Bundle
from edge_probe.bundle.conformance import FLOAT_LOGIT_TOLERANCE, FLOAT_SCORE_TOLERANCE
from edge_probe.bundle.reader import read_conformance
from edge_probe.encoder import Encoder, session_options
from edge_probe.errors import EdgeProbeError, first_line
from edge_probe.head import FloatLinear, MeanLinearHead
from export.head_graph import HEAD_OPSET, add_head, head_outputs
from export.nodes import Nodes

OPSET, IR_VERSION = 20, 9

MAX_FILE_BYTES = 2**31 - 1
"""What a protobuf message, hence a graph without external data, can hold."""

_HINT = f"export the encoder at opset {OPSET}, so that nothing has to be converted"


def single_graph(bundle: Bundle, *, with_tokens: bool = False) -> ModelProto:
    """Build the model.

    Input ``waveform`` (1, chunk_samples) float32, full scale ±1: one whole chunk, nothing is
    masked. Outputs ``logits`` (C,) float64 of that chunk alone and, of a head with prototypes,
    ``scores`` (M,) float32. Names of the encoder's tensors begin with ``encoder/``, ours with
    ``head/``.

    Parameters
    ----------
    bundle : Bundle
    with_tokens : bool, optional
        Give ``tokens`` (T, D) float32 as well, to prove the head on them.

    Raises
    ------
    EdgeProbeError
        The encoder does not fit into one file, or its opset cannot be converted.
    """
    spec, head = bundle.encoder, bundle.head
    shape = [spec.grid.n_tokens, spec.grid.n_dims]
    encoder = _encoder(bundle)
    encoder_nodes, encoder_constants = _needed(encoder.graph, f"encoder/{spec.output_name}")

    graph = Nodes()
    graph.call("waveform", f"encoder/{spec.input_name}")
    graph.nodes += encoder_nodes
    columns = graph.add("Reshape", f"encoder/{spec.output_name}", graph.constant(shape[::-1]))
    graph.call(graph.add("Transpose", columns, perm=[1, 0]), "tokens")
    add_head(graph, head, "tokens")

    waveform = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, [1, spec.chunk_samples])
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, shape)
    whole = helper.make_graph(
        graph.nodes, bundle.name, [waveform],
        [*head_outputs(head), *([tokens] if with_tokens else [])],
        [*encoder_constants, *graph.constants],
        sparse_initializer=encoder.graph.sparse_initializer,
    )  # fmt: skip
    model = helper.make_model(
        whole,
        opset_imports=_domains_in_use(whole, encoder),
        ir_version=max(encoder.ir_version, IR_VERSION),
        producer_name="edge-probe",
    )
    helper.set_model_props(model, metadata(bundle))
    return model


def metadata(bundle: Bundle) -> dict[str, str]:
    """What a user of the file must know; lists are JSON, in the order of the logits."""
    return {
        "bundle": bundle.id,
        "labels": json.dumps([label.text for label in bundle.labels], ensure_ascii=False),
        "threshold_on": json.dumps(bundle.threshold_on.tolist()),
        "threshold_off": json.dumps(bundle.threshold_off.tolist()),
        "sample_rate_hz": str(bundle.encoder.sample_rate_hz),
        "chunk_samples": str(bundle.encoder.chunk_samples),
        "window_chunks": str(bundle.windows.window_chunks),
        "hop_chunks": str(bundle.windows.hop_chunks),
        "token_bits": str(bundle.head.bits),
        "encoder_name": str(bundle.provenance["name"]),
        "encoder_licence": str(bundle.provenance["licence"]),
    }


def write_single_graph(bundle: Bundle, path: Path) -> ModelProto:
    """Build the model, prove it on the bundle's conformance audio, and write it.

    Parameters
    ----------
    bundle : Bundle
    path : Path
        A new file; its folder must exist.

    Returns
    -------
    ModelProto
        What was written.

    Raises
    ------
    EdgeProbeError
        The file exists already or would lie in the bundle, the encoder cannot be merged, or
        the merged model computes something else than the bundle.
    """
    _check_place(bundle, path)
    model = single_graph(bundle, with_tokens=True)
    prove(bundle, model)
    del model.graph.output[-1]
    fresh = path.with_name(f"{path.name}.part")
    fresh.write_bytes(model.SerializeToString())
    fresh.replace(path)
    return model


def prove(bundle: Bundle, model: ModelProto) -> None:
    """Compare a model with tokens with the bundle, on the whole chunks of its conformance audio.

    Parameters
    ----------
    bundle : Bundle
    model : ModelProto
        From `single_graph`, with tokens.

    Raises
    ------
    EdgeProbeError
        Tokens differ by more than the bundle's tolerance, or the head by anything that
        ``edge_probe/head/README.md`` does not allow.
    """
    encoder = Encoder(bundle.graph_path, bundle.encoder)
    chunks = list(_whole_chunks(bundle))
    for samples, found in zip(chunks, _run(bundle, model, chunks), strict=True):
        apart = np.abs(found["tokens"] - encoder.tokens(samples)).max()
        _expect(bundle, "tokens", float(apart), bundle.manifest.token_tolerance)
        _prove_head(bundle, found)


def _run(
    bundle: Bundle, model: ModelProto, chunks: list[NDArray[np.float32]]
) -> list[dict[str, NDArray[np.floating]]]:
    """Outputs by name, for each chunk."""
    names = [output.name for output in model.graph.output]
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), session_options("fast"), providers=["CPUExecutionProvider"]
        )
        outputs = [session.run(names, {"waveform": samples[np.newaxis]}) for samples in chunks]
    except Exception as error:  # onnxruntime's errors share no base class
        raise EdgeProbeError(
            f"{bundle.id}: onnxruntime cannot run the single graph: {first_line(error)}",
            hint=_HINT,
        ) from error
    return [dict(zip(names, values, strict=True)) for values in outputs]


def _prove_head(bundle: Bundle, found: dict[str, NDArray[np.floating]]) -> None:
    head, tokens = bundle.head, found["tokens"].astype(np.float32)
    valid = np.ones(len(tokens), bool)
    if isinstance(head, MeanLinearHead):
        window = head.merge([head.summarise(tokens, valid)])
        inputs, logits = window.total / window.count, head.logits(window)
    else:
        scores = head.summarise(tokens, valid).scores
        allowed = FLOAT_SCORE_TOLERANCE if head.bits == "float" else 0.0
        _expect(bundle, "scores", float(np.abs(found["scores"] - scores).max()), allowed)
        inputs = found["scores"].astype(np.float64)
        logits = head.linear.logits(found["scores"].astype(np.float32))
    tolerance = 0.0
    if isinstance(head.linear, FloatLinear):
        sizes = np.abs(head.linear.weights.astype(np.float64)) @ np.abs(inputs)
        tolerance = FLOAT_LOGIT_TOLERANCE * float(sizes.max())
    _expect(bundle, "logits", float(np.abs(found["logits"] - logits).max()), tolerance)


def _expect(bundle: Bundle, what: str, error: float, allowed: float) -> None:
    if not error <= allowed:
        raise EdgeProbeError(
            f"{bundle.id}: the single graph gives other {what}: off by {error:.3g}, "
            f"allowed {allowed:.3g}",
            hint=_HINT if what == "tokens" else "please report this, with `edge-probe info`",
        )


def _whole_chunks(bundle: Bundle) -> Iterator[NDArray[np.float32]]:
    """Conformance audio as chunks; a rest is left out, audio below a chunk is repeated."""
    samples = read_conformance(bundle).audio.astype(np.float32) / np.float32(2**15)
    size = bundle.encoder.chunk_samples
    if len(samples) < size:
        samples = np.resize(samples, size)
    for begin in range(0, len(samples) - size + 1, size):
        yield samples[begin : begin + size]


def _check_place(bundle: Bundle, path: Path) -> None:
    if path.exists():
        raise EdgeProbeError(f"{path}: exists already", hint="choose another name, or remove it")
    if not path.parent.is_dir():
        raise EdgeProbeError(f"{path.parent}: no such folder", hint="create it first")
    if path.parent.samefile(bundle.path):
        raise EdgeProbeError(
            f"{path}: would lie inside the bundle, which then holds a file it does not list",
            hint="write it beside the bundle",
        )


def _encoder(bundle: Bundle) -> ModelProto:
    """The encoder at a fitting opset, its external data inside, its names prefixed."""
    data_bytes = sum(record.size_bytes for record in bundle.manifest.files.values())
    if data_bytes > MAX_FILE_BYTES:
        raise EdgeProbeError(
            f"{bundle.id}: {data_bytes} bytes do not fit into one ONNX file "
            f"(at most {MAX_FILE_BYTES})",
            hint="run the bundle itself",
        )
    model = _converted(onnx.load(bundle.graph_path), bundle.encoder.graph)
    _prefix(model.graph, "encoder/")
    return model


def _converted(model: ModelProto, name: str) -> ModelProto:
    """At opset 20; a newer one is kept: every operator of the head exists there too."""
    for node in _nodes(model.graph):
        node.domain = _canonical(node.domain)
    version = max(each.version for each in model.opset_import if not _canonical(each.domain))
    if version >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # onnx raises several unrelated classes here
        if version >= HEAD_OPSET:
            return model
        raise EdgeProbeError(
            f"{name}: cannot be converted from opset {version} to {OPSET}: {first_line(error)}",
            hint=_HINT,
        ) from error


def _canonical(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Every node of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for inner in _inner_graphs(node):
            yield from _nodes(inner)


def _inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def _needed(graph: GraphProto, output: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes and constants without what only other outputs use: it would be loaded and computed."""
    names = {output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if names.intersection(node.output):
            nodes.insert(0, node)
            names.update(node.input)
            for inner in _inner_graphs(node):
                names.update(name for each in _nodes(inner) for name in each.input)
                names.update(value.name for value in inner.output)
    return nodes, [constant for constant in graph.initializer if constant.name in names]


def _prefix(graph: GraphProto, prefix: str) -> None:
    """Put a prefix before every name, in the graphs inside too.

    onnx.compose.add_prefix forgets constants of the outer graph that an inner one uses.
    """
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        for names in (node.input, node.output):
            names[:] = [prefix + name if name else "" for name in names]
        for inner in _inner_graphs(node):
            _prefix(inner, prefix)
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.name = prefix + value.name
    for sparse in graph.sparse_initializer:
        sparse.values.name = prefix + sparse.values.name


def _domains_in_use(graph: GraphProto, encoder: ModelProto) -> list[onnx.OperatorSetIdProto]:
    versions = {_canonical(each.domain): each.version for each in encoder.opset_import}
    used = sorted({node.domain for node in _nodes(graph)})
    return [helper.make_opsetid(domain, versions[domain]) for domain in used]
