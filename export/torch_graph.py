"""A torch module as an ONNX graph of standard operators."""

import logging
import tempfile
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import nn

from export.onnx_files import MAX_INLINE_BYTES, data_beside, refuse_name
from export.processes import interrupted_for_good

OPSET = 20


def write_graph(
    module: nn.Module, n_samples: int, path: Path, outputs: Sequence[str] = ("tokens",)
) -> None:
    """Write waveform float32 (1, n_samples) -> outputs, batch norms folded.

    Parameters
    ----------
    module : Module
        In the state in which it shall be frozen.
    n_samples : int
        Length of the waveform, fixed in the graph.
    path : Path
        The folder must exist; an interrupted run leaves no half graph behind. Weights above
        `MAX_INLINE_BYTES` stand in ``NAME.onnx.data``.
    outputs : sequence of str
        Names of what the module returns.

    Raises
    ------
    EncoderError
        No bundle may hold a file of that name.
    """
    n_bytes = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    if n_bytes > MAX_INLINE_BYTES:
        refuse_name(data_beside(path))
    program = _export(module.eval(), n_samples, outputs)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        program.save(str(fresh), external_data=n_bytes > MAX_INLINE_BYTES)
        model = onnx.load(fresh, load_external_data=False)
        _forget(model)
        fresh.write_bytes(model.SerializeToString())
        onnx.checker.check_model(fresh)
        if (data := data_beside(fresh)).exists():
            data.replace(data_beside(path))
        fresh.replace(path)


def _export(module: nn.Module, n_samples: int, outputs: Sequence[str]) -> "torch.onnx.ONNXProgram":
    with interrupted_for_good(), _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own internals
        program = torch.onnx.export(
            module,
            (torch.zeros(1, n_samples),),
            input_names=["waveform"],
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    return cast("torch.onnx.ONNXProgram", program)  # None only without dynamo


@contextmanager
def _quiet() -> Generator[None]:
    """Silence the exporter: it tells of every constant, and misses a torchvision nobody needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _forget(model: onnx.ModelProto) -> None:
    """Drop the source lines of the machine on which it was exported."""
    model.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    for value in (*values, *model.graph.initializer):
        del value.metadata_props[:]
