"""Torch, NumPy and onnxruntime on float prototypes, thresholds and every linear layer."""

from pathlib import Path

import numpy as np
import pytest
from support.head_graphs import made_up, made_up_floats, made_up_tokens
from support.tiny_bundle import threshold_head, tiny_head, write_tiny_bundle

from edge_probe.bundle import Bundle
from edge_probe.chunk import Chunk
from export.parity import compare, onnx_digits, onnx_scores, torch_digits, torch_scores

LINEAR = ["int8", "int8-grouped", "int8-sparse", "float32"]


def chunks_of(bundle: Bundle) -> list[Chunk]:
    """Two chunks, the second of them half padding."""
    size = bundle.encoder.chunk_samples
    samples = np.random.default_rng(0).uniform(-1, 1, (2, size)).astype(np.float32)
    samples[1, size // 2 :] = 0
    return [Chunk(0, samples[0], size), Chunk(1, samples[1], size // 2)]


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize("kind", ["protobin", "protofloat"])
def test_every_implementation_agrees(kind: str, linear: str, tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=tiny_head("float", linear, kind))
    stages = compare(bundle, chunks_of(bundle))
    assert [stage for stage in stages if not stage.passed] == []
    assert [stage.name.split(":")[0] for stage in stages] == [
        *["tokens", "digits"], *["scores"] * 3, *["logits"] * 2
    ]  # fmt: skip
    exact = {stage.tolerance == 0 for stage in stages if stage.name.startswith("logits")}
    assert exact == {linear != "float32"}


@pytest.mark.parametrize("n_thresholds", [1, 2, 3])
def test_every_implementation_agrees_on_several_thresholds(
    n_thresholds: int, tmp_path: Path
) -> None:
    bundle = write_tiny_bundle(tmp_path / "b", head=threshold_head(n_thresholds))
    stages = compare(bundle, chunks_of(bundle))
    assert [stage for stage in stages if not stage.passed] == []
    tolerances = {stage.name: stage.tolerance for stage in stages if stage.name[:6] != "tokens"}
    assert tolerances.pop("scores: torch cosine") == 1e-6
    assert set(tolerances.values()) == {0.0}


@pytest.mark.parametrize("n_thresholds", [1, 2, 3])
@pytest.mark.parametrize("n_dims", [1, 7, 96])
def test_torch_repeats_tokens_for_each_threshold(n_dims: int, n_thresholds: int) -> None:
    head = made_up(n_dims, 70, 1, offset=True, n_thresholds=n_thresholds)
    tokens, valid = made_up_tokens(n_dims), np.arange(9) != 5
    digits = head.digits(tokens, valid)
    assert torch_digits(head, tokens).numpy().tobytes() == digits.values.tobytes()
    scores = head.summarise(tokens, valid).scores
    np.testing.assert_allclose(torch_scores(head, tokens, valid), scores, atol=1e-6, rtol=0)


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("n_tokens", [1, 9])
@pytest.mark.parametrize("n_dims", [1, 7, 64, 1024])
def test_float_prototypes_on_tokens_of_any_loudness(
    n_dims: int, n_tokens: int, floor: bool
) -> None:
    head = made_up_floats(n_dims, 70, floor=floor, offset=True)
    tokens = made_up_tokens(n_dims, n_tokens)
    valid = np.arange(len(tokens)) != 5
    scores = head.summarise(tokens, valid).scores
    tokens, valid = tokens[valid], valid[valid]  # a graph knows no masks
    digits = head.digits(tokens, valid)
    if n_tokens == 1:
        assert scores.min() == 0 if floor else scores.min() < 0
    np.testing.assert_allclose(onnx_scores(head)(digits), scores, atol=1e-6, rtol=0)
    np.testing.assert_allclose(torch_scores(head, tokens, valid), scores, atol=1e-6, rtol=0)
    np.testing.assert_allclose(onnx_digits(head)(tokens).values, digits.values, atol=1e-6)
