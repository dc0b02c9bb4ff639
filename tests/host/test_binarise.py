"""From float tokens to one bit: binary at the end, alike, and the same on the device."""

import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from support.planted_bags import device_logits, planted_bags
from torch import Tensor

from edge_probe.spec import TokenBits
from export.heads.protobin import Protobin, TrainedHead
from export.metrics import quality
from export.train import Bags, HeadOptions, Recipe, fit_protobin, logits_of
from export.train.binarise import binarise, thresholds_for

imitation = sys.modules[binarise.__module__]

OPTIONS = HeadOptions(
    prototypes_per_class=4, recipe=Recipe(epochs=12), sign_recipe=Recipe(12, learning_rate=3e-3)
)


@pytest.fixture(scope="module")
def lesson() -> Bags:
    return planted_bags(96, 3, 2, seed=0, shape=(4, 32))


@pytest.fixture(scope="module")
def exact(lesson: Bags) -> Protobin:
    """Trained, float; to be copied before it is changed."""
    return fit_protobin(lesson, OPTIONS, seed=3)


@pytest.fixture(scope="module")
def binary(lesson: Bags, exact: Protobin) -> Protobin:
    head = deepcopy(exact)
    binarise(head, lesson, OPTIONS.sign_recipe, seed=3)
    return head


@torch.no_grad()
def standard_scores(head: Protobin, bags: Bags) -> Tensor:
    return torch.cat([head.eval().standard_scores(maps) for maps in bags.in_order()])


@pytest.mark.parametrize(("n_dims", "expected"), [(96, 4), (256, 4), (384, 2), (768, 1), (2048, 1)])
def test_fewer_components_get_more_thresholds(n_dims: int, expected: int) -> None:
    assert thresholds_for(n_dims) == expected


def test_head_is_fully_binary_and_standardised(
    lesson: Bags, exact: Protobin, binary: Protobin
) -> None:
    assert (exact.n_thresholds, binary.n_thresholds) == (0, 4)
    maps = lesson.maps([0, 1])
    directions = binary._directions(maps.rows()[0])
    assert directions.shape[2] == binary.prototypes.shape[1] == 4 * 32
    assert torch.equal(directions, directions.sign() / 128**0.5)
    scores = standard_scores(binary, lesson)
    assert scores.mean(dim=0).abs().max() < 0.3
    assert (scores.std(dim=0) - 1).abs().max() < 0.3


def test_imitation_keeps_the_scores_of_the_float_head(
    lesson: Bags, exact: Protobin, binary: Protobin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closer than labels alone; among noise tokens cosine and signs are alike only so far."""
    monkeypatch.setattr(imitation, "SCORES_WEIGHT", 0.0)
    monkeypatch.setattr(imitation, "LOGITS_WEIGHT", 0.0)
    labelled = deepcopy(exact)
    binarise(labelled, lesson, OPTIONS.sign_recipe, seed=3)
    wanted = standard_scores(exact, lesson)
    error, of_labels = (
        (standard_scores(head, lesson) - wanted).square().mean() for head in (binary, labelled)
    )
    assert error < 0.85 * of_labels
    alike = torch.corrcoef(torch.stack([standard_scores(binary, lesson), wanted]).flatten(1))
    assert alike[0, 1] > 0.7


@pytest.mark.parametrize("bits", [1, "float"])
def test_device_head_has_torchs_logits(
    bits: TokenBits, lesson: Bags, exact: Protobin, binary: Protobin
) -> None:
    unheard = planted_bags(30, 2, 1, seed=1, shape=(4, 32))
    module = binary if bits == 1 else exact
    head = TrainedHead.of(module, lesson.in_order()).runtime(bits, "float32")
    np.testing.assert_allclose(
        device_logits(head, unheard), logits_of(module, unheard), rtol=1e-5, atol=1e-5
    )


def test_best_binary_epoch_is_kept(lesson: Bags, exact: Protobin) -> None:
    """By clips that are not learned from; without them it is the last."""
    unheard = planted_bags(60, 3, 1, seed=1, shape=(4, 32), strength=0.8)
    head, last = deepcopy(exact), deepcopy(exact)
    binarise(head, lesson, OPTIONS.sign_recipe, seed=3, validation=unheard)
    binarise(last, lesson, OPTIONS.sign_recipe, seed=3)
    assert head.n_thresholds == 4
    best, ended = (
        quality(logits_of(each, unheard), unheard.targets).macro_map or 0 for each in (head, last)
    )
    assert best > ended


def test_random_numbers_drawn_before_change_nothing(
    lesson: Bags, exact: Protobin, binary: Protobin
) -> None:
    torch.rand(5)
    again = deepcopy(exact)
    binarise(again, lesson, OPTIONS.sign_recipe, seed=3)
    for one, other in zip(again.parameters(), binary.parameters(), strict=True):
        assert torch.equal(one, other)
