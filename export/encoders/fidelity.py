"""What a transformation of an encoder costs: tokens, prototype scores, decisions, mAP.

Heads are trained on three quarters of the clips, under the encoder as it was, and judge the last
quarter by the tokens of both encoders, in turn, so that every clip is judged by heads that never
heard its recording. That is what a head in the field would notice. Heads trained anew under the
new encoder are judged too: that is what will be deployed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe.errors import EdgeProbeError
from edge_probe.head import Head
from edge_probe.spec import WindowSpec
from export.card import EncoderCard
from export.clips import Clip, ClipSet
from export.encoders.cosine import CosineSums
from export.held_out import Windows, highest
from export.material import Material, encode, targets_of
from export.metrics import quality
from export.thresholds import fit_thresholds, held_out_folds, window_logits
from export.tokens import ClipTokens, TokenCache
from export.train import HeadOptions, Recipe, fit_heads

BUDGET_POINTS = 0.3
"""Macro mAP, in percent, that a transformation may cost."""

PRECISIONS = ("float", "1")
"""Tokens of the heads that judge: the most exact, and the ones that a small change can turn."""

HEADS = HeadOptions(
    prototypes_per_class=10,
    recipe=Recipe(epochs=20),
    sign_recipe=Recipe(epochs=20, learning_rate=3e-3),
)
"""Shorter training than for the device: both encoders are judged by the same heads."""

WINDOWS = WindowSpec(window_chunks=2, hop_chunks=1, refractory_s=0.0)


class FidelityError(EdgeProbeError):
    """A transformation costs more than the budget."""


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """What heads of one precision say of both encoders, on clips they never heard."""

    score_change_mean: float
    """Of a prototype's score of a clip, absolute; scores are cosines."""
    score_change_max: float
    decisions_changed_percent: float
    """Windows in which a class is no longer detected, or newly, per hundred detected before."""
    map_before: float
    """Macro mAP, percent."""
    map_after: float
    """Of the same heads on the new tokens."""
    map_retrained: float
    """Of heads that were trained on the new tokens."""

    @property
    def loss_points(self) -> float:
        """What the heads lose."""
        return self.map_before - self.map_after


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Figures of one transformation."""

    token_cosine_mean: float
    token_cosine_min: float
    heads: Mapping[str, HeadFigures]
    """By token precision."""
    n_clips: int

    @property
    def loss_points(self) -> float:
        """The largest loss of mAP of the heads."""
        return float(np.max([figures.loss_points for figures in self.heads.values()]))

    def figures(self) -> dict[str, float | int]:
        """As they stand in the card and in the bundle."""
        found: dict[str, float | int] = {
            "calibration_clips": self.n_clips,
            "token_cosine_mean": round(self.token_cosine_mean, 6),
            "token_cosine_min": round(self.token_cosine_min, 6),
        }
        for precision, figures in self.heads.items():
            bits = "float" if precision == "float" else f"{precision}bit"
            found |= {f"{bits}_{key}": round(value, 5) for key, value in asdict(figures).items()}
        return found

    def check(self, budget_points: float) -> None:
        """Refuse a loss above the budget.

        Raises
        ------
        FidelityError
        """
        for precision, figures in self.heads.items():
            if not figures.loss_points <= budget_points:  # NaN is no pass either
                raise FidelityError(
                    f"heads with {precision} tokens lose {figures.loss_points:.2f} points of mAP "
                    f"({figures.map_before:.2f} to {figures.map_after:.2f}), more than the budget "
                    f"of {budget_points:g}; token cosine {self.token_cosine_mean:.4f} in the mean, "
                    f"{self.token_cosine_min:.4f} at least",
                    hint="keep the encoder as it was, or accept the loss with --budget POINTS",
                )


def compare(
    before: EncoderCard, after: EncoderCard, clips: ClipSet, cache: Path, seed: int = 0
) -> Fidelity:
    """Judge an encoder against what it was made from.

    Parameters
    ----------
    before, after : EncoderCard
        Of one rate, chunk length and token map.
    clips : ClipSet
        Labelled, several recordings of each class; none of them needs to be background.
    cache : Path
        Folder of the token cache.
    seed : int

    Raises
    ------
    EdgeProbeError
        The encoders cannot be compared, or the clips cannot judge them.
    """
    _refuse_others(before, after)
    check_clips(clips)
    old = encode(clips, TokenCache(cache, before))
    new = encode(clips, TokenCache(cache, after))
    sums = CosineSums()
    for old_clip, new_clip in zip(old.tokens, new.tokens, strict=True):
        sums.add(old_clip, new_clip)
    heads = _judged(old, new, seed)
    return Fidelity(sums.mean, sums.least, heads, len(old.clips))


def _refuse_others(before: EncoderCard, after: EncoderCard) -> None:
    old, new = before.spec, after.spec
    facts = [
        ("rate", old.sample_rate_hz, new.sample_rate_hz),
        ("chunk", old.chunk_samples, new.chunk_samples),
        ("D", old.grid.n_dims, new.grid.n_dims),
        ("S_t", old.grid.n_time, new.grid.n_time),
        ("S_f", old.grid.n_freq, new.grid.n_freq),
    ]
    if different := [f"{name} {a} and {b}" for name, a, b in facts if a != b]:
        raise EdgeProbeError(
            f"{before.graph.name} and {after.graph.name} are not forms of one encoder: "
            f"{', '.join(different)}",
            hint="compare an encoder with what was made of it",
        )


def check_clips(clips: ClipSet) -> None:
    """Refuse clips that cannot judge, before any of them is encoded.

    Raises
    ------
    EdgeProbeError
    """
    _folds(targets_of(clips.clips, clips.labels), clips.clips, 0)


def folds_of(material: Material, seed: int) -> list[NDArray[np.int64]]:
    """Rows of clips that are held out in turn, a recording as one.

    Raises
    ------
    EdgeProbeError
        None can be, or no class can be judged.
    """
    return _folds(material.targets, material.clips, seed)


def _folds(
    targets: NDArray[np.float32], clips: Sequence[Clip], seed: int
) -> list[NDArray[np.int64]]:
    if not np.any((targets == 1).any(axis=0) & (targets == 0).any(axis=0)):
        raise EdgeProbeError(
            "no class has clips with and without it", hint="give clips of several classes"
        )
    heard = (np.nan_to_num(targets) > 0).astype(np.float32)
    folds = held_out_folds(heard, [clip.group for clip in clips], seed)
    if len(folds) < 2:
        raise EdgeProbeError(
            "the clips are of too few recordings: none can be held out",
            hint="give clips of several recordings of each class",
        )
    return folds


def macro_map(windows: Windows, material: Material) -> float:
    """Macro mAP of the highest logits of every clip, percent; `folds_of` saw that there is one."""
    value = quality(highest(windows), material.targets).macro_map
    assert value is not None  # noqa: S101  folds_of refuses such clips
    return 100 * value


def _judged(old: Material, new: Material, seed: int) -> dict[str, HeadFigures]:
    folds = folds_of(old, seed)
    judged = {precision: _Judged(old) for precision in PRECISIONS}
    rows = np.arange(len(old.clips))
    for held_out in tqdm(folds, desc="held-out folds", unit="fold"):
        rest = np.setdiff1d(rows, held_out)
        taught = fit_heads(old.bags(rest), PRECISIONS, HEADS, seed=seed)
        anew = fit_heads(new.bags(rest), PRECISIONS, HEADS, seed=seed)
        for precision, found in judged.items():
            for row in held_out:
                found.add(row, taught[precision], anew[precision], old.tokens[row], new.tokens[row])
    return {precision: found.figures() for precision, found in judged.items()}


class _Judged:
    """What heads of one precision say of every clip, fold by fold."""

    def __init__(self, material: Material) -> None:
        self._material = material
        empty: Windows = [np.full((1, len(material.labels)), np.nan) for _ in material.clips]
        self._before, self._after, self._retrained = list(empty), list(empty), list(empty)
        self._changes: list[NDArray[np.float64]] = []

    def add(self, row: int, taught: Head, anew: Head, old: ClipTokens, new: ClipTokens) -> None:
        self._before[row] = window_logits(taught, old, WINDOWS)
        self._after[row] = window_logits(taught, new, WINDOWS)
        self._retrained[row] = window_logits(anew, new, WINDOWS)
        self._changes.append(np.abs(clip_scores(taught, new) - clip_scores(taught, old)))

    def figures(self) -> HeadFigures:
        changes = np.stack(self._changes)
        before, after, retrained = (
            macro_map(windows, self._material)
            for windows in (self._before, self._after, self._retrained)
        )
        return HeadFigures(
            float(changes.mean()), float(changes.max()), self._changed(), before, after, retrained
        )

    def _changed(self) -> float:
        targets = np.nan_to_num(self._material.targets)
        on = fit_thresholds(highest(self._before), targets, ()).on
        old = np.concatenate(self._before) >= on
        new = np.concatenate(self._after) >= on
        return 100 * float(np.sum(old != new)) / max(1, int(old.sum()))


def clip_scores(head: Head, clip: ClipTokens) -> NDArray[np.float64]:
    """Prototype scores of a clip, the maximum over all its chunks: (M,) float64."""
    chunks = [
        head.summarise(tokens.astype(np.float32), valid)
        for tokens, valid in zip(clip.tokens, clip.valid, strict=True)
        if valid.any()
    ]
    merged = head.merge(chunks)  # type: ignore[arg-type]
    scores: NDArray[np.float64] = merged.scores.astype(np.float64)  # type: ignore[union-attr]
    return scores
