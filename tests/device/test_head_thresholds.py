"""Several thresholds per dimension: each by hand, in every kernel, and through a bundle."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.tiny_bundle import AUDIO, ENCODER, GOLDEN, threshold_head, write_tiny_bundle

from edge_probe.bundle import open_bundle, selftest, verify
from edge_probe.bundle.reader import read_conformance
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.commands import info
from edge_probe.encoder import Encoder
from edge_probe.head import Int8Linear, ProtobinHead, backends
from edge_probe.head.packing import pack_signs

Array = NDArray[np.float32]


def head_of(signs: NDArray[np.int64], offsets: Array) -> ProtobinHead:
    """A head of (M, R D) signs and (R, D) offsets."""
    n_prototypes = len(signs)
    return ProtobinHead(
        pack_signs(signs), offsets.ravel(), 1,
        Int8Linear.from_float(np.ones((1, n_prototypes)), np.zeros(1)),
        np.zeros(n_prototypes, np.float32), len(offsets),
    )  # fmt: skip


def by_hand(
    signs: NDArray[np.int64], offsets: Array, tokens: Array, valid: NDArray[np.bool_]
) -> tuple[list[np.float32], list[int]]:
    """Scores and best tokens: one threshold after the other, one bit after the other."""
    n_thresholds, n_dims = offsets.shape
    n_bits = n_thresholds * n_dims
    scale = np.float32(1 / np.sqrt(np.float64(n_bits * n_bits)))
    scores, best = [], []
    for prototype in signs.reshape(-1, n_thresholds, n_dims):
        found = []
        for token, counts in zip(tokens, valid, strict=True):
            differing, moved = 0, False
            for own, offset in zip(prototype, offsets, strict=True):
                for sign, component, threshold in zip(own, token, offset, strict=True):
                    differing += (component >= threshold) != (sign > 0)
                    moved |= bool(component != threshold)
            alive = counts and moved
            found.append(scale * np.float32(n_bits - 2 * differing) if alive else np.float32(0))
        best.append(found.index(max(found)))
        scores.append(max(found) + np.float32(0))
    return scores, best


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_every_kernel_counts_each_threshold(
    n_dims: int, n_thresholds: int, n_tokens: int, seed: int
) -> None:
    """Halves between -1 and 1: tokens lie on a threshold often, and on all of them sometimes."""
    rng = np.random.default_rng(seed)
    tokens = (rng.integers(-2, 3, (n_tokens, n_dims)) / 2).astype(np.float32)
    offsets = (rng.integers(-2, 3, (n_thresholds, n_dims)) / 2).astype(np.float32)
    if seed % 3 == 0:
        tokens[0] = offsets[0]
    if seed % 5 == 0:
        offsets[:] = tokens[0]
    signs = rng.choice([-1, 1], (5, n_thresholds * n_dims))
    valid = rng.random(n_tokens) > 0.2
    expect_by_hand(signs, offsets, tokens, valid)


def expect_by_hand(
    signs: NDArray[np.int64], offsets: Array, tokens: Array, valid: NDArray[np.bool_]
) -> None:
    head = head_of(signs, offsets)
    scores, best = by_hand(signs, offsets, tokens, valid)
    digits = head.digits(tokens, valid)
    separately = [tokens >= offset for offset in offsets]
    assert digits.values.tobytes() == np.concatenate(separately, axis=1).tobytes()
    kernels = dict(head.matchers())
    assert kernels.keys() == {one.name for one in backends.available(1, signs.shape[1])}
    for name, match in kernels.items():
        found, where = match(digits)
        assert found.tobytes() == np.array(scores, np.float32).tobytes(), name
        assert where.tolist() == best, name


@pytest.mark.parametrize("n_thresholds", [2, 3, 4])
@pytest.mark.parametrize("n_dims", [1, 7, 8, 63, 64, 65, 96, 130, 256])
def test_words_that_hold_bits_of_two_thresholds(n_dims: int, n_thresholds: int) -> None:
    rng = np.random.default_rng([n_dims, n_thresholds])
    tokens = rng.normal(size=(7, n_dims)).astype(np.float32)
    offsets = rng.normal(size=(n_thresholds, n_dims)).astype(np.float32)
    signs = rng.choice([-1, 1], (9, n_thresholds * n_dims))
    expect_by_hand(signs, offsets, tokens, np.arange(7) != 3)


def test_a_token_on_one_of_two_thresholds_counts_and_on_both_does_not() -> None:
    token = np.array([[0.5, -1.0, 2.0]], np.float32)
    signs, valid = np.ones((1, 6), np.int64), np.ones(1, bool)
    other = np.zeros(3, np.float32)
    one = head_of(signs, np.stack([token[0], other])).summarise(token, valid)
    assert one.scores.tolist() == [
        np.float32(1 / 6) * np.float32(4)
    ]  # -1 < 0 is the one that differs
    both = head_of(signs, np.stack([token[0], token[0]])).summarise(token, valid)
    assert both.scores.tobytes() == np.zeros(1, np.float32).tobytes()


def test_equal_thresholds_repeat_every_bit_and_change_no_cosine() -> None:
    rng = np.random.default_rng(0)
    tokens, valid = rng.normal(size=(5, 8)).astype(np.float32), np.ones(5, bool)
    signs, offset = rng.choice([-1, 1], (4, 8)), rng.normal(size=8).astype(np.float32)
    one = head_of(signs, offset[None]).summarise(tokens, valid)
    four = head_of(np.tile(signs, 4), np.tile(offset, (4, 1))).summarise(tokens, valid)
    assert one.scores.tobytes() == four.scores.tobytes()
    assert one.tokens.tolist() == four.tokens.tolist()


def test_names_of_the_sizes() -> None:
    head = threshold_head(3)
    assert (head.n_thresholds, head.n_token_dims, head.n_dims) == (3, 4, 12)
    with pytest.raises(ValueError, match="reshape"):
        head.digits(np.zeros((2, 5), np.float32), np.ones(2, bool))


@pytest.mark.parametrize("n_thresholds", [2, 3, 8])
def test_a_bundle_keeps_them_to_the_bit_and_passes(n_thresholds: int, tmp_path: Path) -> None:
    head = threshold_head(n_thresholds)
    written = write_tiny_bundle(tmp_path / "b", head=head)
    bundle = open_bundle(written.path, verify=verify.is_valid)
    found = bundle.head
    assert isinstance(found, ProtobinHead)
    assert found.n_thresholds == bundle.manifest.head.n_thresholds == n_thresholds
    assert found.prototypes.tobytes() == head.prototypes.tobytes()
    assert found.prototypes.shape == (3, (4 * n_thresholds + 7) // 8)
    assert found.offset.tobytes() == head.offset.tobytes()
    digits = read_conformance(bundle).digits
    assert digits is not None
    assert digits.shape == (2, 4, 4 * n_thresholds)
    tokens = Encoder(bundle.graph_path, ENCODER).tokens((AUDIO[:16] / 32768).astype(np.float32))
    expected = [tokens >= offset for offset in head.offset.reshape(n_thresholds, 4)]
    assert digits[0].tobytes() == np.concatenate(expected, axis=1).tobytes()
    stages = selftest(bundle)
    assert all(stage.passed for stage in stages)
    kernels = {stage.kernel for stage in stages if stage.name == "scores"}
    assert kernels == {one.name for one in backends.available(1, 4 * n_thresholds)}
    exact = {stage.name: stage.allowed for stage in stages}
    assert exact["digits"] == exact["scores"] == exact["logits"] == 0


def test_the_manifest_names_them_only_above_one(tmp_path: Path) -> None:
    one = write_tiny_bundle(tmp_path / "one", head=threshold_head(1))
    two = write_tiny_bundle(tmp_path / "two", head=threshold_head(2))
    sections = [json.loads((b.path / "manifest.json").read_bytes())["head"] for b in (one, two)]
    old = json.loads((GOLDEN / "manifest.json").read_bytes())["head"]
    assert sections == [old, old | {"n_thresholds": 2}]


@pytest.mark.parametrize(("n_thresholds", "bits"), [(2, 4), (2, "float"), (9, 1)])
def test_the_writer_refuses_what_the_format_does_not_know(
    n_thresholds: int, bits: object, tmp_path: Path
) -> None:
    like = threshold_head(n_thresholds)
    head = ProtobinHead(
        like.prototypes, like.offset, bits,  # type: ignore[arg-type]
        like.linear, like.reference_scores, n_thresholds,
    )  # fmt: skip
    with pytest.raises(RejectedBundleError, match="threshold"):
        write_tiny_bundle(tmp_path / "b", head=head)
    assert not (tmp_path / "b").exists()


def test_info_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = threshold_head(3)
    bundle = write_tiny_bundle(tmp_path / "b", head=head)
    assert run_info(bundle.path, "--bits") == 0
    out = capsys.readouterr().out
    assert "M = 3 prototypes, 1-bit tokens, 3 thresholds per dimension, int8 W" in out
    assert run_info(bundle.path, "--bits", "--json") == 0
    classes = json.loads(capsys.readouterr().out)["prototype_bits"]
    shares = {m: share for each in classes for m, share in zip(*fields(each), strict=True)}
    assert shares == {m: round(row.bit_count() / 12, 4) for m, row in enumerate(rows(head))}
    assert run_info(GOLDEN) == 0
    assert "thresholds per dimension" not in capsys.readouterr().out


def run_info(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    info.add_arguments(parser)
    return info.run(parser.parse_args([str(argument) for argument in arguments]))


def fields(facts: dict[str, list[float]]) -> tuple[list[float], list[float]]:
    return facts["prototypes"], facts["ones"]


def rows(head: ProtobinHead) -> list[int]:
    """Packed prototypes as integers."""
    return [int.from_bytes(row.tobytes(), "little") for row in head.prototypes]
