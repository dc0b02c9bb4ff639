"""What a bundle takes along of its training: of every class alike, and never too much."""

import numpy as np
import pytest
from support.tiny_bundle import tiny_head, write_tiny_bundle

from edge_probe.bundle import open_bundle
from edge_probe.bundle.manifest import MAX_ROLE_BYTES
from edge_probe.bundle.reader import read_replay
from edge_probe.bundle.replay import UNKNOWN, pack_replay
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.head import PrototypeHead
from edge_probe.head.vectors import from_int16, steps_of
from export.noise_gate import NoiseGate, pass_noise_gate
from export.replay import NOISE_BYTES, ReplayClips, balanced_rows, make_replay

LIMIT = MAX_ROLE_BYTES["replay.safetensors"]


def clips(counts: list[int], n_prototypes: int = 3) -> ReplayClips:
    """So many clips of each class, the last number is of background."""
    n_classes = len(counts) - 1
    kinds = np.repeat(np.arange(len(counts)), counts)
    targets = (kinds[:, None] == np.arange(n_classes)).astype(np.float32)
    scores = np.arange(len(kinds) * n_prototypes).reshape(len(kinds), -1) % 4
    return ReplayClips(scores.astype(np.int16), targets, [f"r{n // 2}" for n in range(len(kinds))])


def test_rare_classes_are_taken_whole_and_the_others_alike() -> None:
    made = clips([3, 100, 60, 200])
    rows = balanced_rows(made.targets, 63, seed=0)
    kinds = np.where(made.targets.any(axis=1), made.targets.argmax(axis=1), 3)[rows]
    assert np.bincount(kinds).tolist() == [3, 20, 20, 20]
    assert np.all(np.diff(rows) > 0)
    assert not np.array_equal(rows, balanced_rows(made.targets, 63, seed=1))
    assert len(balanced_rows(made.targets, 1000, seed=0)) == 363


def test_what_is_taken_along_is_what_was_there() -> None:
    made = clips([2, 3, 1])
    made.targets[0, 1] = np.nan
    noise = [np.ones((2, 3), np.int16), np.zeros((1, 3), np.int16)]
    replay = make_replay(made, noise, seed=0)
    assert replay is not None
    assert np.array_equal(replay.scores, made.scores)
    assert replay.targets[0].tolist() == [1, UNKNOWN]
    assert replay.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert replay.noise_runs.tolist() == [0, 0, 1]
    assert replay.noise.tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("n_noise", [0, 40])
def test_it_fills_its_mebibyte_and_no_more(n_noise: int) -> None:
    made = clips([500, 500, 500], n_prototypes=1000)
    noise = [np.zeros((n_noise, 1000), np.int16)] * bool(n_noise)
    replay = make_replay(made, noise, seed=0)
    assert replay is not None
    assert 0.99 * LIMIT < len(pack_replay(replay)) <= LIMIT


def test_there_may_be_no_room() -> None:
    assert make_replay(clips([30, 30, 30], n_prototypes=100_000), [], seed=0) is None
    few = make_replay(clips([1, 1, 1], n_prototypes=100_000), [], seed=0)
    assert few is not None  # all that there is


def test_the_gate_gives_the_scores_of_noise() -> None:
    """As the device computes them, of made-up noise; silence is the fifth sound."""
    bundle = open_bundle(DEMO_BUNDLE)
    passed = pass_noise_gate(bundle, NoiseGate(max_per_hour=1e9))
    head = bundle.head
    assert isinstance(head, PrototypeHead)
    assert passed.scores
    assert 0 < sum(run.nbytes for run in passed.scores) <= NOISE_BYTES
    highest = from_int16(passed.scores[0], steps_of(head)).max(axis=0)
    assert highest.shape == (head.n_prototypes,)
    assert 0.05 < float(highest.mean()) < 1
    logits = head.linear.logits(highest)
    assert np.isfinite(logits).all()


def test_a_mean_head_has_none() -> None:
    assert ReplayClips.of(tiny_head("float", "mean"), None) is None  # type: ignore[arg-type]


def test_older_bundles_have_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert read_replay(open_bundle(DEMO_BUNDLE)) is None
    made = write_tiny_bundle(tmp_path_factory.mktemp("b") / "b")
    assert read_replay(made) is None
