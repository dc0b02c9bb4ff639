"""How large an ONNX graph may be as a file, and where its weights stand if they are more."""

from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from edge_probe.bundle.files import name_is_bare
from edge_probe.errors import EncoderError

MAX_INLINE_BYTES = 2**27
"""Weights of more stand in a file beside the graph, NAME.onnx.data: a bundle takes no larger graph
than 256 MiB."""

MAX_BYTES = 2**31 - 1
"""Of a model in memory with all its weights: protobuf's limit."""


def data_beside(graph: Path) -> Path:
    """The file in which large weights of a graph stand."""
    return graph.with_name(f"{graph.name}.data")


def refuse_name(data: Path) -> None:
    """Make sure that a bundle may hold a file of weights under its name.

    Raises
    ------
    EncoderError
    """
    if not name_is_bare(data.name):
        raise EncoderError(
            f"{data.name!r}: the weights stand in a file beside the graph, and no bundle may hold "
            "one of this name",
            hint="name the encoder with A-Z a-z 0-9 . _ - only, at most 90 of them: "
            "--out encoder.onnx",
        )


def refuse_too_large(path: Path) -> None:
    """Make sure that a graph can be changed: all of it, with its weights, in one protobuf.

    Raises
    ------
    EncoderError
    """
    graph = onnx.load(path, load_external_data=False).graph
    beside = {ExternalDataInfo(t).location for t in graph.initializer if uses_external_data(t)}
    files = [path, *(path.with_name(name) for name in beside)]
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    if n_bytes > MAX_BYTES:
        raise EncoderError(
            f"{path}: {n_bytes / 2**30:.1f} GiB with its weights; ONNX graphs of 2 GiB or more can "
            "be neither cut nor quantised",
            hint="take a smaller encoder; low-memory, fidelity, chunks and profile take this one",
        )
