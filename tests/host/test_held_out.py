"""Choosing a head on clips it never heard."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_probe.spec import WindowSpec
from export.clips import Clip
from export.held_out import held_out_windows, highest, macro_map
from export.material import Material, targets_of
from export.precision import PRECISIONS, candidates
from export.tokens import ClipTokens
from export.train import HeadOptions, Recipe

ONE_CHUNK = WindowSpec(1, 1, 0.0)
QUICK = HeadOptions(
    prototypes_per_class=2, recipe=Recipe(epochs=2), sign_recipe=Recipe(epochs=2)
)  # fmt: skip
ENOUGH = HeadOptions(
    prototypes_per_class=4, recipe=Recipe(epochs=8), sign_recipe=Recipe(epochs=8)
)  # fmt: skip


def material_of(labels: Sequence[int | None], groups: Sequence[str], seed: int = 0) -> Material:
    """Clips of one chunk with noise tokens; a class adds a pattern of its own to one of them."""
    rng = np.random.default_rng(seed)
    patterns = rng.choice([-2, 2], (2, 32))
    clips, tokens = [], []
    for label, group in zip(labels, groups, strict=True):
        clips.append(Clip(Path("x"), () if label is None else (f"class {label}",), group))
        values = rng.normal(size=(1, 4, 32))
        if label is not None:
            values[0, 1] += patterns[label]
        tokens.append(ClipTokens(values.astype(np.float16), np.ones((1, 4), bool)))
    names = ("class 0", "class 1")
    return Material(clips, tokens, targets_of(clips, names), names, 1, [])


LABELS = [0] * 6 + [1] * 6 + [None] * 6


def test_held_out_logits_of_an_unheard_class_are_nan() -> None:
    groups = [f"a{n}" for n in range(6)] + ["one"] * 6 + [f"b{n}" for n in range(6)]

    def logits(groups: Sequence[str]) -> np.ndarray:
        found = held_out_windows(material_of(LABELS, groups), ("4",), QUICK, ONE_CHUNK, 0)
        return highest(found["4"])

    found = logits(groups)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[6:12, 1]).all()
    assert np.isfinite(found[:, 1]).any()
    assert np.isnan(logits(["one"] * 18)).all()


def test_unknown_classes_of_a_clip_count_for_nothing() -> None:
    """A hard negative of one class may hold the other: nobody knows."""
    material = material_of(LABELS, [str(n) for n in range(18)])
    clips = [*material.clips[:-1], Clip(Path("x"), (), "17", absent=("class 1",))]
    targets = targets_of(clips, material.labels)
    assert np.isnan(targets[17, 0])
    assert targets[17, 1] == 0
    unsure = Material(clips, material.tokens, targets, material.labels, 1, [])
    assert 17 in material.background
    assert 17 not in unsure.background
    found = held_out_windows(unsure, ("float",), QUICK, ONE_CHUNK, 0)["float"]
    assert np.isnan(found[17][:, 0]).all()
    assert np.isfinite(found[17][:, 1]).all()


def test_every_candidate_is_judged_on_the_same_clips() -> None:
    material = material_of(3 * LABELS, [str(n) for n in range(54)])
    names = candidates(None, None)
    measured = macro_map(held_out_windows(material, names, ENOUGH, ONE_CHUNK, 0), material)
    assert set(measured) == {*PRECISIONS, "mean-linear"}
    assert all(value is not None and value > 80 for value in measured.values())


def test_the_seed_decides_what_is_held_out_and_what_is_learned() -> None:
    material = material_of(LABELS, [str(n) for n in range(18)])

    def measured(seed: int) -> dict[str, float | None]:
        found = held_out_windows(material, candidates(None, None), QUICK, ONE_CHUNK, seed)
        return macro_map(found, material)

    assert measured(0) == measured(0) != measured(1)


def test_without_clips_to_judge_by_there_is_no_figure() -> None:
    material = material_of(LABELS, ["one"] * 18)
    found = held_out_windows(material, ("4",), QUICK, ONE_CHUNK, 0)
    assert macro_map(found, material) == {"4": None}
