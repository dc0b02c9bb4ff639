"""What a head was trained to do to tokens before it matches them, put into the encoder graph."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from edge_probe.errors import EncoderError
from edge_probe.spec import TokenGrid
from export.card import EncoderCard

MIN_OPSET = 11
"""The first at which Resize has half-pixel coordinates and Pad takes its value as an input."""

_PREFIX = "edge_probe/"


@dataclass(frozen=True, slots=True)
class TokenSteps:
    """In this order; the defaults leave tokens as the encoder gives them."""

    minus_cls: str | None = None
    """Output of the graph that holds [cls], D numbers, taken from every token (Bird-MAE calls it
    focal similarity)."""
    upsample: int = 1
    """Both axes of the token map grow by this factor, bilinear, as by
    ``torch.nn.Upsample(mode="bilinear")``."""
    appended: float | None = None
    """One more component of every token, always of this value."""

    def describe(self) -> list[str]:
        """In words, one for each step."""
        return [
            *([f"minus {self.minus_cls}"] if self.minus_cls is not None else []),
            *([f"upsampled {self.upsample} x"] if self.upsample > 1 else []),
            *([f"a component {self.appended:.6g} appended"] if self.appended is not None else []),
        ]


def with_steps(card: EncoderCard, steps: TokenSteps, folder: Path) -> EncoderCard:
    """The encoder whose tokens went through these steps.

    Parameters
    ----------
    card : EncoderCard
    steps : TokenSteps
    folder : Path
        Takes the new graph, and copies of its external data, where there is anything to do.

    Raises
    ------
    EncoderError
        The graph has no such [cls] output, or is of an opset below 11.
    """
    if steps == TokenSteps():
        return card
    model = onnx.load(card.graph, load_external_data=False)
    _check_opset(card, model)
    spec, grid = card.spec, _grid(card.spec.grid, steps)
    tokens = _append(card, model, steps)
    shape = [1, grid.n_dims, grid.n_time, grid.n_freq]
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(tokens, TensorProto.FLOAT, shape))
    graph = folder / card.graph.name
    onnx.save_model(model, graph)
    return dataclasses.replace(
        card,
        graph=graph,
        spec=dataclasses.replace(spec, output_name=tokens, grid=grid),
        external_data=tuple(
            Path(shutil.copyfile(path, folder / path.name)) for path in card.external_data
        ),
    )


def _check_opset(card: EncoderCard, model: ModelProto) -> None:
    opset = max(each.version for each in model.opset_import if each.domain in {"", "ai.onnx"})
    if opset < MIN_OPSET:
        raise EncoderError(
            f"{card.graph}: expected opset {MIN_OPSET} or later, found {opset}",
            hint="export the encoder again at a newer opset",
        )


def _append(card: EncoderCard, model: ModelProto, steps: TokenSteps) -> str:
    """Add the nodes; returns the name of their result."""
    graph, last = model.graph, card.spec.output_name

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{_PREFIX}{operator.lower()}"
        graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(name: str, values: object) -> str:
        graph.initializer.append(from_array(np.asarray(values), _PREFIX + name))
        return _PREFIX + name

    if steps.minus_cls is not None:
        _check_cls(card, model, steps.minus_cls)
        column = constant("cls_shape", np.array([1, card.spec.grid.n_dims, 1, 1]))
        last = add("Sub", [last, add("Reshape", [steps.minus_cls, column])])
    if steps.upsample > 1:
        factors = np.array([1, 1, steps.upsample, steps.upsample], np.float32)
        nowhere = constant("no_region", np.zeros(0, np.float32))
        inputs = [last, nowhere, constant("upsample", factors)]
        last = add("Resize", inputs, mode="linear", coordinate_transformation_mode="half_pixel")
    if steps.appended is not None:
        pads = constant("one_component", np.array([0, 0, 0, 0, 0, 1, 0, 0]))
        value = constant("appended", np.float32(steps.appended))
        last = add("Pad", [last, pads, value], mode="constant")
    return last


def _check_cls(card: EncoderCard, model: ModelProto, name: str) -> None:
    outputs = {output.name: output for output in model.graph.output}
    if name not in outputs:
        raise EncoderError(
            f"{card.graph}: no output {name!r} for [cls], found {', '.join(sorted(outputs))}",
            hint="export the encoder graph with its [cls] token as a second output",
        )
    sizes = [dim.dim_value for dim in outputs[name].type.tensor_type.shape.dim]
    if all(sizes) and int(np.prod(sizes)) != card.spec.grid.n_dims:
        raise EncoderError(
            f"{card.graph}: expected {card.spec.grid.n_dims} numbers in {name!r}, found {sizes}",
            hint="[cls] has as many components as every other token",
        )


def _grid(grid: TokenGrid, steps: TokenSteps) -> TokenGrid:
    """Where the tokens lie afterwards: every step and every band is cut into equal parts."""
    factor, edges = steps.upsample, grid.band_edges_hz
    if edges is not None:
        places = np.arange(grid.n_freq * factor + 1) / factor
        edges = tuple(np.interp(places, np.arange(len(edges)), edges).tolist())
    return TokenGrid(
        grid.n_dims + (steps.appended is not None),
        grid.n_time * factor,
        grid.n_freq * factor,
        grid.start_samples,
        grid.step_samples / factor,
        edges,
    )
