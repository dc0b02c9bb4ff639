"""The low-memory pair: a graph that onnxruntime has optimised, and its weights in a file beside it.

Weights in a file of their own are mapped where they lie; inside the graph they are copied twice.
`ORT_ENABLE_EXTENDED` fuses what every processor has; what is beyond it bakes in the layout of the
processor that did it, and no bundle may hold that.
"""

import shutil
import tempfile
from pathlib import Path

import onnxruntime as ort

from edge_probe.errors import EncoderError, first_line
from export.card import EncoderCard
from export.onnx_files import refuse_name

LEAST_EXTERNAL_BYTES = 1024
"""Smaller tensors stay in the graph."""


def data_of(graph: Path) -> Path:
    """Where the weights of a low-memory pair stand."""
    return graph.with_suffix(".data")


def write_pair(card: EncoderCard, out: Path) -> None:
    """Write the optimised graph, and ``NAME.data`` beside it.

    Parameters
    ----------
    card : EncoderCard
        The portable form.
    out : Path
        The new graph, in a folder that exists.

    Raises
    ------
    EncoderError
        onnxruntime cannot optimise the graph, or no bundle may hold a file of that name.
    """
    data = data_of(out)
    refuse_name(data)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".low-memory-") as folder:
        made = Path(folder) / out.name
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(made)
        prefix = "session.optimized_model_external_initializers_"
        options.add_session_config_entry(prefix + "file_name", data.name)
        options.add_session_config_entry(prefix + "min_size_in_bytes", str(LEAST_EXTERNAL_BYTES))
        try:
            ort.InferenceSession(str(card.graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise EncoderError(
                f"{card.graph}: onnxruntime cannot optimise it: {first_line(error)}",
                hint="the portable file still works, with more memory",
            ) from error
        for name in (data.name, out.name):  # the graph last: it is what makes an encoder
            if (Path(folder) / name).exists():
                shutil.move(Path(folder) / name, out.parent / name)
