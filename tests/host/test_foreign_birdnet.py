"""Custom classifiers on BirdNET's embedding: the mean-linear head of the same logits."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import soundfile as sf
import soxr
import tflite  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file
from support.foreign import N_DIMS, World, logits, waveforms
from support.tflite_file import Sketch

from edge_probe.bundle import open_bundle
from edge_probe.head import MeanLinearHead
from export.cli import main
from export.foreign import CheckpointError
from export.foreign.birdnet import read_classifier

C = 3
RELU = tflite.ActivationFunctionType.RELU
rng = np.random.default_rng(3)
WEIGHTS = rng.normal(size=(C, N_DIMS)).astype(np.float32)
BIAS = rng.normal(size=C).astype(np.float32)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, C)


def classifier(weights: NDArray[Any] = WEIGHTS, bias: NDArray[Any] = BIAS) -> bytes:
    """The classifier alone, on the embedding."""
    sketch = Sketch()
    source = sketch.tensor(1, weights.shape[1])
    return sketch.to_bytes(source, sketch.dense(source, weights, bias))


def whole_model() -> bytes:
    """Token map, mean, reshape, dense layer, sigmoid."""
    sketch = Sketch()
    source = sketch.tensor(1, 1, 6, N_DIMS)
    mean = sketch.add("MEAN", [source, sketch.constant(np.array([1, 2], np.int32))], 1, N_DIMS)
    flat = sketch.add("RESHAPE", [mean], 1, N_DIMS)
    result = sketch.dense(flat, WEIGHTS, BIAS)
    return sketch.to_bytes(source, sketch.add("LOGISTIC", [result], 1, C))


def half_precision() -> bytes:
    return classifier(WEIGHTS.astype(np.float16))


@pytest.mark.parametrize("make", [classifier, whole_model, half_precision])
def test_tflite(world: World, make: Any) -> None:
    (world.folder / "custom.tflite").write_bytes(make())
    bundle = world.bundle("custom.tflite")
    assert isinstance(bundle.head, MeanLinearHead)
    weights = WEIGHTS.astype(np.float16).astype(np.float32) if make is half_precision else WEIGHTS
    for waveform in waveforms():
        tokens, _ = world.maps(waveform)
        expected = weights @ tokens.flatten(1).mean(dim=1).numpy() + BIAS
        np.testing.assert_allclose(logits(bundle, waveform), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_plain_arrays(world: World, form: str) -> None:
    if form == "npz":
        np.savez(world.folder / "custom.npz", weight=WEIGHTS.astype(np.float64), bias=BIAS)
    else:
        save_file({"weight": WEIGHTS, "bias": BIAS}, world.folder / "custom.safetensors")
    head = world.bundle(f"custom.{form}").head
    np.testing.assert_array_equal(head.linear.weights, WEIGHTS)
    np.testing.assert_array_equal(head.linear.bias, BIAS)


def hidden_layer(activation: int = RELU) -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    units = np.eye(N_DIMS, dtype=np.float32)
    inside = sketch.dense(source, units, np.zeros(N_DIMS, np.float32), activation=activation)
    return sketch.to_bytes(source, sketch.dense(inside, WEIGHTS, BIAS))


def appended() -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    both = [sketch.dense(source, WEIGHTS, BIAS) for _ in range(2)]
    return sketch.to_bytes(source, sketch.add("CONCATENATION", both, 1, 2 * C))


def batch_norm() -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    scaled = sketch.add("MUL", [source, sketch.constant(WEIGHTS[:1])], 1, N_DIMS)
    return sketch.to_bytes(source, sketch.dense(scaled, WEIGHTS, BIAS))


def with_activation() -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    return sketch.to_bytes(source, sketch.dense(source, WEIGHTS, BIAS, activation=RELU))


def two_outputs() -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    return sketch.to_bytes(source, sketch.dense(source, WEIGHTS, BIAS), source)


def in_circles() -> bytes:
    sketch = Sketch()
    source = sketch.tensor(1, N_DIMS)
    sketch.operators.append(("RESHAPE", [source], source, 0))
    return sketch.to_bytes(source, sketch.dense(source, WEIGHTS, BIAS))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (hidden_layer, "has a hidden layer"),
        (appended, "appends its classes to those of BirdNET"),
        (batch_norm, "reads the result of MUL"),
        (with_activation, "with an activation"),
        (two_outputs, "has 2 outputs"),
        (in_circles, "reads the result of RESHAPE"),
        (lambda: classifier(np.ones((C, N_DIMS), np.int8)), "stores its weights as integers"),
        (lambda: classifier(np.full((C, N_DIMS), np.nan, np.float32)), "NaN"),
        (lambda: classifier(bias=BIAS[:2]), r"found \(3, 24\) and \(2,\)"),
        (lambda: b"\0\0\0\0TFL3", "is damaged"),
        (lambda: b"PK\3\4 a zip", "not a TFLite file"),
        (lambda: b"", "not a TFLite file"),
    ],
)
def test_classifier_that_is_more_or_less(tmp_path: Path, make: Any, reason: str) -> None:
    path = tmp_path / "custom.tflite"
    path.write_bytes(make())
    with pytest.raises(CheckpointError, match=reason):
        read_classifier(path)


@given(st.lists(st.tuples(st.integers(0, len(classifier()) - 1), st.integers(0, 255)), max_size=4),
       st.integers(0, len(classifier())))  # fmt: skip
def test_damaged_files_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(classifier())
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    for content in (bytes(data), bytes(data[:length])):
        path.write_bytes(content)
        try:
            layer = read_classifier(path)
        except CheckpointError:
            continue
        assert layer.bias.shape == layer.weights.shape[:1]
        assert np.isfinite(layer.weights).all()


def test_quantised_model_of_the_shared_data(shared: Path) -> None:
    with pytest.raises(CheckpointError, match="ends in DEQUANTIZE"):
        read_classifier(shared / "encoders" / "birdnet_stm32n6_100.tflite")


BIRDNET_CARD = """
name = "BirdNET 2.4"
licence = "CC-BY-NC-SA-4.0"
sample_rate_hz = 48000
chunk_samples = 144000
input = "INPUT"
output = "tokens_postconv"
"""


def test_birdnet_embedding(shared: Path, tmp_path: Path) -> None:
    """On real audio the bundle's logits are those of a dense layer on BirdNET's own embedding."""
    graph = shared / "encoders" / "birdnet24_encoder.onnx"
    weights = (rng.normal(size=(C, 1024)) / 4).astype(np.float32)
    (tmp_path / "custom.tflite").write_bytes(classifier(weights))
    (tmp_path / "card.toml").write_text(BIRDNET_CARD, encoding="utf-8")
    (tmp_path / "custom_Labels.txt").write_text("A a_B\nC c_D\nE e_F\n", encoding="utf-8")
    arguments = ["import", tmp_path / "custom.tflite", "--encoder", graph]
    arguments += ["--card", tmp_path / "card.toml", "--labels", tmp_path / "custom_Labels.txt"]
    assert main([*map(str, arguments), "--out", str(tmp_path / "bundle")]) == 0
    recording = sorted((shared / "soundscapes").rglob("*.flac"))[0]
    samples, rate = sf.read(recording, dtype="float32", always_2d=True, frames=600_000)
    chunk = soxr.resample(samples[:, 0], rate, 48_000)[:144_000]
    session = ort.InferenceSession(str(graph))
    (embedding,) = session.run(["embedding"], {"INPUT": chunk[np.newaxis]})
    expected = weights @ embedding[0] + BIAS
    found = logits(open_bundle(tmp_path / "bundle"), chunk)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    assert np.abs(expected - BIAS).max() > 0.5
