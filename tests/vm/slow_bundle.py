"""A bundle that is right in every number and too slow: only a trial at work finds that out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from support.onnx_bytes import blob, graph, model, node, tensor, value
from support.tiny_bundle import ENCODER, write_tiny_bundle

RATE_HZ = 8000
"""Also the samples in a chunk, of one second."""

SIDE, N_PRODUCTS = 512, 4
"""Half a billion multiplications for a second: an emulated core takes several."""


def write_slow_bundle(directory: Path) -> None:
    """The tiny bundle for chunks of a second, with work that changes nothing."""
    path = directory.with_suffix(".onnx")
    path.write_bytes(_encoder())
    grid = replace(ENCODER.grid, step_samples=RATE_HZ / 2, band_edges_hz=(0.0, 2000.0, 4000.0))
    encoder = replace(ENCODER, sample_rate_hz=RATE_HZ, chunk_samples=RATE_HZ, grid=grid)
    rng = np.random.default_rng(0)
    audio = rng.integers(-3000, 3000, 2 * RATE_HZ, np.int16)
    write_tiny_bundle(
        directory, name="too-slow", encoder=encoder, graph=path, conformance_audio=audio
    )


def _encoder() -> bytes:
    """The tiny encoder on the first 16 samples, plus a product of matrices times almost nothing."""
    constants = {
        "begin": [0], "few": [16], "many": [SIDE], "axis": [1], "map": [1, 4, 2, 2],
        "column": [SIDE, 1], "row": [1, SIDE], "one": [1, 1, 1, 1],
    }  # fmt: skip
    tensors = [tensor(name, np.array(ints, np.int64)) for name, ints in constants.items()]
    tensors.append(tensor("gains", np.array([1, 2, 4, -8], np.float32).reshape(4, 1, 1)))
    tensors.append(tensor("nothing", np.array([1e-30], np.float32)))
    nodes = [
        node("Slice", ["x", "begin", "few", "axis"], "start"),
        node("Reshape", ["start", "map"], "tokens"),
        node("Mul", ["tokens", "gains"], "scaled"),
        node("Slice", ["x", "begin", "many", "axis"], "part"),
        node("Reshape", ["part", "column"], "left"),
        node("Reshape", ["part", "row"], "right"),
        node("MatMul", ["left", "right"], "m0"),
    ]
    for i in range(N_PRODUCTS):
        nodes += [node("MatMul", [f"m{i}", f"m{i}"], f"p{i}"), node("Tanh", [f"p{i}"], f"m{i + 1}")]
    nodes += [
        node("ReduceMax", [f"m{N_PRODUCTS}"], "most"),
        node("Reshape", ["most", "one"], "most_of_all"),
        node("Mul", ["most_of_all", "nothing"], "no_more"),
        node("Add", ["scaled", "no_more"], "y"),
    ]
    ends = blob(11, value("x", (1, RATE_HZ))) + blob(12, value("y", (1, 4, 2, 2)))
    return model(graph(nodes, tensors, ends))
