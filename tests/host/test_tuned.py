"""What was tuned, in the hands of fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.tune_world import subject

from edge_probe.errors import EdgeProbeError
from export.train import Configuration, HeadOptions, Recipe, fit_mean_linear
from export.train.configuration import tuned_options
from export.tune.storage import StudyError, open_storage
from export.tune.tuned import read_tuned


def test_fit_trains_every_head_as_it_was_tuned() -> None:
    plain = HeadOptions()
    found = {
        head: Configuration(head, 7, {"dropout": 0.1}, Recipe(learning_rate=rate))
        for head, rate in [("protobin-offset", 0.1), ("protobin-bound", 0.2), ("linear-mean", 0.3)]
    }
    options = tuned_options(plain, found, ["1", "mean-linear"])
    assert options == replace(
        plain, recipe=Recipe(learning_rate=0.1), probe_recipe=Recipe(learning_rate=0.3),
        dropout=0.1, prototypes_per_class=7,
    )  # fmt: skip
    bound = tuned_options(replace(plain, class_bound=True), found, ["1"])
    assert bound.recipe.learning_rate == 0.2
    alone = tuned_options(plain, found, ["mean-linear"])
    assert alone == replace(plain, probe_recipe=Recipe(learning_rate=0.3))
    del found["linear-mean"]
    assert tuned_options(plain, found, ["1"]).probe_recipe == plain.recipe
    with pytest.raises(EdgeProbeError, match="none that fit trains here") as caught:
        tuned_options(plain, found, ["mean-linear"])
    assert caught.value.hint == "tune linear-mean"


def test_a_linear_probe_has_a_recipe_of_its_own() -> None:
    def trained(options: HeadOptions) -> NDArray[np.float64]:
        head = fit_mean_linear(subject().train, options, seed=0)
        return head.logits(head.summarise(np.eye(6, dtype=np.float32)[:2], np.array([True, False])))

    still, going = Recipe(epochs=1, learning_rate=0.0), Recipe(epochs=1, learning_rate=0.1)
    own = trained(HeadOptions(recipe=still, probe_recipe=going))
    np.testing.assert_array_equal(own, trained(HeadOptions(recipe=going)))
    assert not np.array_equal(own, trained(HeadOptions(recipe=still)))


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match=r"none\.json: No such file") as caught:
        read_tuned(tmp_path / "none.json")
    assert caught.value.hint == "name a file that edge-export tune wrote"
    for where in (tmp_path, tmp_path / "none" / "a.journal"):
        with pytest.raises(StudyError, match=f"{where}: ") as caught:
            open_storage(str(where))
        assert "--study" in str(caught.value.hint)
