"""Made-up tokens that something can be learned from, for searches that take no time."""

from pathlib import Path

import numpy as np

from export.tokens import ClipTokens
from export.train import Bags
from export.tune.search import HeadSearch, Plan
from export.tune.storage import open_storage
from export.tune.subject import Subject

N_CLASSES, N_DIMS = 2, 6
PLAN = Plan(trials=6, top=2, seeds=2, epochs=2, prototypes_per_class=2)


def clip_tokens(heard: int | None, rng: np.random.Generator) -> ClipTokens:
    """One chunk of noise; of class ``heard``, one of its five tokens stands out a little."""
    tokens = rng.normal(size=(1, 5, N_DIMS))
    if heard is not None:
        tokens[0, rng.integers(5), heard] += 2.0
    return ClipTokens(tokens.astype(np.float16), np.ones((1, 5), bool))


def bags(n_clips: int, seed: int) -> Bags:
    """Clips of the classes and of background in turn."""
    rng = np.random.default_rng(seed)
    kinds = [(*range(N_CLASSES), None)[row % (N_CLASSES + 1)] for row in range(n_clips)]
    targets = np.array([[kind == label for label in range(N_CLASSES)] for kind in kinds])
    return Bags([clip_tokens(kind, rng) for kind in kinds], targets.astype(np.float32))


def subject(clips: str = "made up") -> Subject:
    """What a search needs; ``clips`` stands for their fingerprint."""
    return Subject(bags(48, seed=1), bags(24, seed=2), {"encoder": "e" * 24, "clips": clips})


def search(journal: Path, head: str = "linear-mean", plan: Plan = PLAN) -> HeadSearch:
    return HeadSearch(open_storage(str(journal)), head, subject(), plan)
