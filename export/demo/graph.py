"""The demonstration encoder as one ONNX graph of standard operators."""

import warnings
from pathlib import Path
from typing import cast

import onnx
import torch

from export.demo.model import CHUNK_SAMPLES, DemoEncoder, TokenNet

OPSET = 20


def export_onnx(net: TokenNet, path: Path) -> None:
    """Write waveform (1, CHUNK_SAMPLES) -> tokens (1, D, S_t, S_f), batch norms folded.

    Parameters
    ----------
    net : TokenNet
    path : Path
        The folder must exist.
    """
    encoder = DemoEncoder(net).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own internals
        program = torch.onnx.export(
            encoder,
            (torch.zeros(1, CHUNK_SAMPLES),),
            input_names=["waveform"],
            output_names=["tokens"],
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    model = cast("torch.onnx.ONNXProgram", program).model_proto  # None only without dynamo
    model.doc_string = ""
    for node in model.graph.node:  # source lines of the machine it was exported on
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    fresh = path.with_suffix(".part")
    fresh.write_bytes(model.SerializeToString())
    fresh.replace(path)  # an interrupted run leaves no half graph behind
