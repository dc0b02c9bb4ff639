"""A made-up encoder whose tokens can be told by hand, and clips for it."""

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from support.onnx_bytes import blob, graph, model, node, tensor, value

from export.card import EncoderCard, read_card
from export.clips import Clip

RATE, CHUNK = 16_000, 160
N_DIMS, N_TIME, N_FREQ, N_CLS = 4, 20, 2, 3


def write_encoder(folder: Path, *, gain: float = 1.0, cls: bool = False) -> EncoderCard:
    """Token map: the waveform times ``gain``, reshaped; [cls]: three weighted sums of it."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = tensor("s", np.array([1, N_DIMS, N_TIME, N_FREQ], np.int64))
    gains = tensor("k", np.array([gain], np.float32))
    weights = tensor("w", cls_weights())
    nodes = [node("Mul", ["x", "k"], "l"), node("Reshape", ["l", "s"], "y")]
    nodes += [node("MatMul", ["x", "w"], "c")] if cls else []
    ends = blob(11, value("x", (1, CHUNK))) + blob(12, value("y", (1, N_DIMS, N_TIME, N_FREQ)))
    ends += blob(12, value("c", (1, N_CLS))) if cls else b""
    path = folder / "made_up.onnx"
    path.write_bytes(model(graph(nodes, [shape, gains, *([weights] if cls else [])], ends)))
    card = (
        'name = "made up"\nlicence = "none"\ninput = "x"\noutput = "y"\n'
        f"sample_rate_hz = {RATE}\nchunk_samples = {CHUNK}\n"
    )
    path.with_suffix(".toml").write_text(card + ('cls = "c"\n' if cls else ""), encoding="utf-8")
    return read_card(path)


def cls_weights() -> NDArray[np.float32]:
    """(CHUNK, N_CLS)"""
    weights = np.arange(CHUNK * N_CLS).reshape(CHUNK, N_CLS) % 5 - 2
    return (weights / 8).astype(np.float32)


def write_clip(path: Path, n_chunks: float = 2, seed: int = 0, gain: float = 0.1) -> Clip:
    """A clip of float32 noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, noise(n_chunks, seed, gain), RATE, subtype="FLOAT")
    return Clip(path, ("a",), path.stem)


def noise(n_chunks: float, seed: int, gain: float = 0.1) -> NDArray[np.float32]:
    """The samples of `write_clip`."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, gain, round(n_chunks * CHUNK)).astype(np.float32)


def token_map(chunk: NDArray[np.float32]) -> NDArray[np.float16]:
    """What `write_encoder` makes of a chunk: (T, D) float16."""
    return chunk.reshape(N_DIMS, N_TIME * N_FREQ).T.astype(np.float16)


def write_big_encoder(folder: Path) -> EncoderCard:
    """A MiB of float16 tokens, (131072, 4), from a chunk of only 16 samples: copies of them."""
    column = tensor("s", np.array([1, 4, 4, 1], np.int64))
    size = tensor("e", np.array([2**15, 4, 4, 1], np.int64))
    whole = tensor("f", np.array([1, 4, 2**17, 1], np.int64))
    nodes = [node("Reshape", ["x", "s"], "r"), node("Expand", ["r", "e"], "b")]
    nodes += [node("Reshape", ["b", "f"], "y")]
    ends = blob(11, value("x", (1, 16))) + blob(12, value("y", (1, 4, 2**17, 1)))
    path = folder / "big.onnx"
    path.write_bytes(model(graph(nodes, [column, size, whole], ends)))
    path.with_suffix(".toml").write_text(
        'name = "big"\nlicence = "none"\ninput = "x"\noutput = "y"\n'
        f"sample_rate_hz = {RATE}\nchunk_samples = 16\n",
        encoding="utf-8",
    )
    return read_card(path)
