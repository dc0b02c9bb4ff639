"""Somebody's ONNX graph up to one of its maps, as an encoder: waveform in, token map out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_probe.bundle.schema import Json
from edge_probe.errors import EncoderError
from export.card import EncoderCard, write_card
from export.encoders import stimuli
from export.encoders.axes import Axes, follow, tell_axes
from export.encoders.graph import channel_axis, first_map, value_of
from export.encoders.model import (
    load_model,
    run,
    save_model,
    session_of,
    waveform_input,
    whole_or_nothing,
)
from export.encoders.placement import band_edges_hz, start_samples, step_samples
from export.nodes import Nodes

INPUT, OUTPUT = "waveform", "tokens"
"""Of every graph that is cut."""

_PREFIX = "inside/"
"""Of all names of the original: none of them is ``waveform`` or ``tokens`` then."""

TOLERANCE = 1e-5
"""Largest difference of a component from the original's, as a share of the largest one, or of 1."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What was measured of a map."""

    shape: tuple[int, ...]
    """Of the value in the graph."""
    axes: Axes
    start_samples: float
    step_samples: float
    band_edges_hz: tuple[float, ...] | None
    """Ascending; None where they cannot be told."""
    turned_over: bool
    """Whether the rows of the value go from high to low, and those of the tokens do not."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(D, S_t, S_f)."""
        freq = 1 if self.axes.freq is None else self.shape[self.axes.freq]
        return self.shape[self.axes.dims], self.shape[self.axes.time], freq


class Probe:
    """A graph that answers with some of its values.

    Parameters
    ----------
    model : ModelProto
    values : sequence of str
    n_samples : int or None
        Of the waveform, where the graph leaves it open.
    """

    def __init__(self, model: onnx.ModelProto, values: list[str], n_samples: int | None) -> None:
        self.values = list(dict.fromkeys(values))
        self.input, self.shape = waveform_input(model, n_samples)
        self.n_samples = self.shape[-1]
        self._session = session_of(with_outputs(model, self.values))

    def __call__(self, waveform: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The values for a waveform (N,)."""
        feed = {self.input: waveform.astype(np.float32).reshape(self.shape)}
        found = run(self._session, self.values, feed)
        return dict(zip(self.values, (map_.astype(np.float64) for map_ in found), strict=True))

    def type_of(self, value: str) -> str:
        """Of one of the values, as onnxruntime calls it: ``tensor(float)``."""
        return next(str(out.type) for out in self._session.get_outputs() if out.name == value)


def with_outputs(model: onnx.ModelProto, values: list[str]) -> onnx.ModelProto:
    """The part of a graph that makes these values, with them as its outputs."""
    return _extracted(model, [value.name for value in model.graph.input], values)


def _extracted(model: onnx.ModelProto, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    inferred = onnx.shape_inference.infer_shapes(model)
    known = {tensor.name for tensor in model.graph.initializer}
    named = {value.name for value in (*inferred.graph.value_info, *inferred.graph.output)}
    for name in outputs:  # the extractor wants a type for each
        if name not in named:
            inferred.graph.value_info.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            )
    extractor = onnx.utils.Extractor(inferred)
    return extractor.extract_model([name for name in inputs if name not in known], outputs)


def measure(model: onnx.ModelProto, value: str, rate_hz: int, n_samples: int | None) -> Layout:
    """Layout of one value of a graph.

    Parameters
    ----------
    model : ModelProto
    value : str
    rate_hz : int
        That of the waveform.
    n_samples : int or None
        Of a chunk, where the graph leaves it open.

    Raises
    ------
    EncoderError
        It is no token map, or its axes cannot be told.
    """
    probe = Probe(model, [value], n_samples)
    _refuse_no_tokens(probe, value)
    map_ = follow(probe, probe.n_samples, rate_hz)[value]
    axes = tell_axes(map_, channel_axis(model, value))

    def columns(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.moveaxis(probe(waveform)[value], axes.time, 0)
        return found.reshape(len(found), -1)

    step = step_samples(columns, probe.n_samples, rate_hz)
    edges = _edges(model, value, map_.shape, axes, rate_hz, probe.n_samples)
    return Layout(
        map_.shape,
        axes,
        start_samples(map_.time[axes.time], step, probe.n_samples),
        step,
        None if edges is None else tuple(sorted(edges)),
        turned_over=edges is not None and edges[0] > edges[-1],
    )


def _refuse_no_tokens(probe: Probe, value: str) -> None:
    kind = probe.type_of(value)
    if kind != "tensor(float)":
        raise EncoderError(
            f"{value} is a {kind}; expected a tensor(float)",
            hint="choose a value before it is cast or quantised, or behind the way back",
        )
    if not np.isfinite(probe(stimuli.long_noise(probe.n_samples, 16_000, seed=3))[value]).all():
        raise EncoderError(
            f"{value} holds NaN or infinite values in plain noise",
            hint="look for NaN among the weights: the file may be damaged",
        )


def _edges(
    model: onnx.ModelProto,
    value: str,
    shape: tuple[int, ...],
    axes: Axes,
    rate_hz: int,
    n_samples: int,
) -> list[float] | None:
    """Edges of the rows in the map's own order; None where they cannot be told."""
    spectrogram = first_map(model, value)
    if axes.freq is None or spectrogram is None:
        return None
    edges = band_edges_hz(
        Probe(model, [spectrogram], n_samples), n_samples, rate_hz, shape[axes.freq]
    )
    if edges and axes.descends is not None and axes.descends != (edges[0] > edges[-1]):
        return None  # what lies between spectrogram and map has turned the rows over
    return edges


def cut(
    path: Path,
    node: str,
    out: Path,
    facts: Mapping[str, Json],
) -> tuple[EncoderCard, Layout]:
    """Write the graph up to a map, and its card.

    Parameters
    ----------
    path : Path
        ONNX graph whose only input is the waveform.
    node : str
        The value that becomes the token map, or the node that makes it.
    out : Path
        The new graph.
    facts : mapping
        ``name``, ``licence``, ``sample_rate_hz`` and, where the graph leaves it open,
        ``chunk_samples``. Layout that is given too (``start_samples``, ``step_samples``,
        ``band_edges_hz``) goes into the card instead of what is measured.

    Raises
    ------
    EncoderError
        The graph has no such value, it is no token map, its axes cannot be told, the tokens are
        not those of the original, or a bundle cannot hold the graph. Nothing is left then.
    """
    model = load_model(path)
    value = value_of(model, node)
    n_samples = facts.get("chunk_samples")
    found = measure(model, value, facts["sample_rate_hz"], n_samples)
    encoder = encoder_graph(model, value, found, n_samples)
    difference = _difference(model, value, found, encoder, n_samples)
    where: dict[str, Json] = {
        "start_samples": found.start_samples, "step_samples": found.step_samples,
    }  # fmt: skip
    if found.band_edges_hz is not None:
        where["band_edges_hz"] = list(found.band_edges_hz)
    _, (*_, n_chunk) = waveform_input(model, n_samples)
    step = {"what": f"cut from {path.name} at {value}", "largest_difference": difference}
    of_the_tokens = {"chunk_samples": n_chunk, "input": INPUT, "output": OUTPUT}
    steps = [*facts.get("steps", ()), step]
    with whole_or_nothing(out):
        save_model(encoder, out)
        return write_card(out, where | dict(facts) | of_the_tokens | {"steps": steps}), found


def encoder_graph(
    model: onnx.ModelProto, value: str, found: Layout, n_samples: int | None
) -> onnx.ModelProto:
    """The graph up to a value, from ``waveform`` [1, N] to ``tokens`` [1, D, S_t, S_f]."""
    name, shape = waveform_input(model, n_samples)
    inside = onnx.compose.add_prefix(with_outputs(model, [value]), _PREFIX)
    graph = inside.graph
    length = graph.input[0].type.tensor_type.shape.dim[-1].dim_value or "N"
    step = Nodes("cut/")
    if len(shape) == 2:
        step.call(INPUT, _PREFIX + name)
    else:
        resized = step.add("Reshape", INPUT, step.constant(np.array((*shape[:-1], -1))))
        step.call(resized, _PREFIX + name)
    n_before = len(step.nodes)
    step.call(_as_token_map(step, _PREFIX + value, found), OUTPUT)
    nodes = [*step.nodes[:n_before], *graph.node, *step.nodes[n_before:]]
    dims, time, freq = found.sizes
    ends = [
        helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, length]),
        helper.make_tensor_value_info(
            OUTPUT, TensorProto.FLOAT, [1, dims, "S_t" if length == "N" else time, freq]
        ),
    ]
    made = helper.make_graph(
        nodes, "encoder", ends[:1], ends[1:], [*graph.initializer, *step.constants]
    )
    encoder = helper.make_model(
        made, opset_imports=inside.opset_import, ir_version=inside.ir_version
    )
    encoder.functions.extend(inside.functions)
    return encoder


def _as_token_map(step: Nodes, value: str, found: Layout) -> str:
    """Append what brings a value into the order (1, D, S_t, S_f)."""
    axes, rank = found.axes, len(found.shape)
    kept = [axis for axis in (axes.dims, axes.time, axes.freq) if axis is not None]
    order = [axis for axis in range(rank) if axis not in kept]
    order = [*order[: rank - len(kept)], *kept]
    if axes.freq is None and rank == 4:
        order = [order[0], *kept, order[1]]  # (1, D, S_t, 1) without a Reshape
    if order != list(range(rank)):
        value = step.add("Transpose", value, perm=order)
    dims, _, freq = found.sizes
    if rank != 4:
        value = step.add("Reshape", value, step.constant(np.array((1, dims, -1, freq))))
    if found.turned_over:
        value = step.add("Gather", value, step.constant(np.arange(freq)[::-1].copy()), axis=3)
    return value


def token_map(map_: NDArray[np.float64], found: Layout) -> NDArray[np.float64]:
    """What `encoder_graph` does to a value, in NumPy: (1, D, S_t, S_f)."""
    axes = found.axes
    kept = [axis for axis in (axes.dims, axes.time, axes.freq) if axis is not None]
    moved = np.moveaxis(map_, kept, range(map_.ndim - len(kept), map_.ndim))
    tokens = moved.reshape(1, *found.sizes)
    return tokens[..., ::-1] if found.turned_over else tokens


def _difference(
    model: onnx.ModelProto,
    value: str,
    found: Layout,
    encoder: onnx.ModelProto,
    n_samples: int | None,
) -> float:
    """Largest difference of the tokens from the original value; refuses too large ones."""
    original, made = Probe(model, [value], n_samples), Probe(encoder, [OUTPUT], n_samples)
    sound = stimuli.long_noise(original.n_samples, 16_000, seed=11)
    expected, tokens = token_map(original(sound)[value], found), made(sound)[OUTPUT]
    difference = float(np.abs(tokens - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise EncoderError(
            f"the tokens of the cut graph differ from {value} by {difference:.3g}",
            hint="the graph computes other values when it is cut: report it, with the model",
        )
    return float(f"{difference:.2g}")
