"""The encoder module: token order, both profiles, and every way in which a graph can be wrong."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.onnx_bytes import blob, graph, model, node, number, tensor, tiny_encoder, value
from support.tiny_bundle import ENCODER

from edge_probe.encoder import Encoder, Profile
from edge_probe.errors import EncoderError
from edge_probe.spec import EncoderSpec

GAINS = np.array([1, 2, 4, -8], np.float32)
WAVEFORM = np.arange(16, dtype=np.float32)


def changed(**grid: object) -> EncoderSpec:
    return dataclasses.replace(ENCODER, grid=dataclasses.replace(ENCODER.grid, **grid))  # type: ignore[arg-type]


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "encoder.onnx"
    path.write_bytes(data)
    return path


def tail(operator: str, ends: bytes, *more: bytes) -> bytes:
    """The tiny encoder with one more operator behind it."""
    shape = tensor("s", np.array([1, 4, 2, 2], np.int64))
    nodes = [node("Reshape", ["x", "s"], "r"), node(operator, ["r"], "y"), *more]
    return model(graph(nodes, [shape], ends))


ENDS = blob(11, value("x", (1, 16))) + blob(12, value("y", (1, 4, 2, 2)))


@pytest.mark.parametrize("profile", ["low-memory", "fast"])
def test_tokens_are_rows_in_order_of_time_then_frequency(tmp_path: Path, profile: Profile) -> None:
    encoder = Encoder(write(tmp_path, tiny_encoder()), ENCODER, profile=profile)
    tokens = encoder.tokens(WAVEFORM)
    token_map = WAVEFORM.reshape(4, 2, 2) * GAINS[:, None, None]
    assert tokens.flags.c_contiguous
    assert tokens.dtype == np.float32
    for i_time in range(2):
        for i_freq in range(2):
            assert tokens[2 * i_time + i_freq].tolist() == token_map[:, i_time, i_freq].tolist()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "cannot load this graph"),
        (b"RIFF\x00\x00", "cannot load this graph"),
        (tiny_encoder()[:-7], "cannot load this graph"),
        (tail("NoSuchOperator", ENDS), "cannot load this graph"),
    ],
)
def test_what_is_no_graph(tmp_path: Path, data: bytes, problem: str) -> None:
    with pytest.raises(EncoderError, match=problem) as caught:
        Encoder(write(tmp_path, data), ENCODER)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="cannot load this graph"):
        Encoder(tmp_path / "none.onnx", ENCODER)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (dataclasses.replace(ENCODER, input_name="wave"), r"no input named 'wave', found x"),
        (dataclasses.replace(ENCODER, output_name="map"), r"no output named 'map', found y"),
        (dataclasses.replace(ENCODER, chunk_samples=17), r"expected an input of shape \[1, 17\]"),
        (changed(n_dims=5), r"expected an output of shape \[1, 5, 2, 2\], found \[1, 4, 2, 2\]"),
        (changed(n_time=4, n_freq=1), r"expected an output of shape \[1, 4, 4, 1\]"),
    ],
)
def test_promises_that_the_graph_breaks(tmp_path: Path, spec: EncoderSpec, problem: str) -> None:
    with pytest.raises(EncoderError, match=problem):
        Encoder(write(tmp_path, tiny_encoder()), spec)


def test_wrong_rank(tmp_path: Path) -> None:
    flat = blob(11, value("x", (1, 16))) + blob(12, value("r", (1, 4, 4)))
    shape = tensor("s", np.array([1, 4, 4], np.int64))
    data = model(graph([node("Reshape", ["x", "s"], "r")], [shape], flat))
    spec = dataclasses.replace(ENCODER, output_name="r")
    with pytest.raises(EncoderError, match=r"found \[1, 4, 4\]"):
        Encoder(write(tmp_path, data), spec)


def test_two_inputs(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="expected one input, found x, z"):
        Encoder(write(tmp_path, tail("Abs", ENDS + blob(11, value("z", (1,))))), ENCODER)


def test_output_that_is_not_float32(tmp_path: Path) -> None:
    int_map = blob(1, "y") + blob(2, blob(1, number(1, 9)))  # BOOL
    ends = blob(11, value("x", (1, 16))) + blob(12, int_map)
    with pytest.raises(EncoderError, match=r"must be float32, found tensor\(bool\)"):
        Encoder(write(tmp_path, tail("IsNaN", ends)), ENCODER)


def symbolic(name: str, rank: int) -> bytes:
    dims = b"".join(blob(1, blob(2, f"{name}{axis}")) for axis in range(rank))
    return blob(1, name) + blob(2, blob(1, number(1, 1) + blob(2, dims)))


def test_sizes_that_a_graph_leaves_open_are_checked_when_it_runs(tmp_path: Path) -> None:
    shape = tensor("s", np.array([1, 4, -1, 2], np.int64))
    ends = blob(11, symbolic("x", 2)) + blob(12, symbolic("y", 4))
    path = write(tmp_path, model(graph([node("Reshape", ["x", "s"], "y")], [shape], ends)))
    with pytest.raises(EncoderError, match=r"\(1, 4, 3, 2\).*found \(1, 4, 2, 2\)"):
        Encoder(path, changed(n_time=3)).tokens(WAVEFORM)
    with pytest.raises(EncoderError, match="the graph failed on 15 samples"):
        Encoder(path, ENCODER).tokens(WAVEFORM[:15])


@pytest.mark.parametrize(("operator", "sample"), [("Sqrt", -1.0), ("Log", 0.0), ("Exp", 1e3)])
def test_nan_and_infinite_tokens(tmp_path: Path, operator: str, sample: float) -> None:
    encoder = Encoder(write(tmp_path, tail(operator, ENDS)), ENCODER)
    fine = np.ones(16, np.float32)
    assert np.isfinite(encoder.tokens(fine)).all()
    fine[3] = sample
    with pytest.raises(EncoderError, match="NaN or infinite"):
        encoder.tokens(fine)
