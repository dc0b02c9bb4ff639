"""The demonstration encoder as one ONNX graph of standard operators."""

from pathlib import Path

from export.demo.model import CHUNK_SAMPLES, DemoEncoder, TokenNet
from export.torch_graph import write_graph


def export_onnx(net: TokenNet, path: Path) -> None:
    """Write waveform (1, CHUNK_SAMPLES) -> tokens (1, D, S_t, S_f), batch norms folded.

    Parameters
    ----------
    net : TokenNet
    path : Path
        The folder must exist.
    """
    write_graph(DemoEncoder(net), CHUNK_SAMPLES, path)
