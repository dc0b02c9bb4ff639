"""From float tokens to one bit: binary at the end, alike, and the same on the device."""

import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from support.planted_bags import device_logits, planted_bags
from torch import Tensor

from edge_probe.spec import TokenBits
from export.heads import TokenMaps
from export.heads.protobin import Protobin, TrainedHead
from export.train import Bags, HeadOptions, Recipe, fit_protobin, logits_of
from export.train.anneal import anneal

imitation = sys.modules[anneal.__module__]

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
    anneal(head, lesson, OPTIONS.sign_recipe, seed=3)
    return head


@torch.no_grad()
def standard_scores(head: Protobin, bags: Bags) -> Tensor:
    return torch.cat([head.eval().standard_scores(maps) for maps in bags.in_order()])


def test_annealed_head_is_fully_binary_and_standardised(
    lesson: Bags, exact: Protobin, binary: Protobin
) -> None:
    assert exact.sign_share == 0
    assert binary.sign_share == 1
    maps = lesson.maps([0, 1])
    directions = binary._directions(maps.rows()[0] - binary.offset)
    assert torch.equal(directions, directions.sign() / 32**0.5)
    scores = standard_scores(binary, lesson)
    assert scores.mean(dim=0).abs().max() < 0.3
    assert (scores.std(dim=0) - 1).abs().max() < 0.3


def test_imitation_keeps_the_scores_of_the_float_head(
    lesson: Bags, exact: Protobin, binary: Protobin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closer than labels alone; among 12 noise tokens cosine and sign are 0.8 alike at best."""
    monkeypatch.setattr(imitation, "SCORES_WEIGHT", 0.0)
    monkeypatch.setattr(imitation, "LOGITS_WEIGHT", 0.0)
    labelled = deepcopy(exact)
    anneal(labelled, lesson, OPTIONS.sign_recipe, seed=3)
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


class Watched(Protobin):
    """Notes how binary it was whenever it was asked in evaluation mode."""

    def __init__(self, exact: Protobin, bags: Bags) -> None:
        super().__init__(bags.shape, 4, learn_offset=True, standardise=True, dropout=0.3)
        self.load_state_dict(exact.state_dict())
        self.asked_at: list[float] = []

    def scores(self, maps: TokenMaps) -> Tensor:
        if not self.training:
            self.asked_at.append(self.sign_share)
        return super().scores(maps)


def test_only_binary_epochs_are_judged(lesson: Bags, exact: Protobin) -> None:
    """A quarter of twelve epochs is three, which end a step short of one bit."""
    head = Watched(exact, lesson)
    unheard = planted_bags(60, 3, 1, seed=1, shape=(4, 32))
    anneal(head, lesson, OPTIONS.sign_recipe, seed=3, validation=unheard)
    before = [0.0, 0.0]  # 96 clips, 64 at a time
    assert head.asked_at == before + [1.0] * 9


def test_random_numbers_drawn_before_change_nothing(
    lesson: Bags, exact: Protobin, binary: Protobin
) -> None:
    torch.rand(5)
    again = deepcopy(exact)
    anneal(again, lesson, OPTIONS.sign_recipe, seed=3)
    for one, other in zip(again.parameters(), binary.parameters(), strict=True):
        assert torch.equal(one, other)
