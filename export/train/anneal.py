"""From float tokens to one bit: the signs learn to score as the float tokens did.

During the first `ANNEALED` of the steps tokens go from float to sign,
``(1 - a) unit(z - c) + a sign(z - c) / sqrt(D)``. All the while the head is held to its former
self, clip by clip: to its standardised prototype scores and its logits, besides the labels. The
labels say little about 200 prototypes; the scores of the float head say where each belongs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from export.heads.protobin import Protobin
from export.train.bags import Bags, Batch
from export.train.descend import Descent, OnEpoch, Recipe, descend

ANNEALED = 0.25

SCORES_WEIGHT = 3.0
"""Of the mean squared difference of standardised prototype scores."""

LOGITS_WEIGHT = 1.0
"""Of the mean squared difference of logits."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """The objective: labels, and what the float head made of the same clips."""

    head: Protobin
    recipe: Recipe
    scores: Tensor
    """(N, M) standardised, of the float head on the training clips."""
    logits: Tensor
    """(N, C)"""

    @classmethod
    @torch.no_grad()
    def of(cls, head: Protobin, bags: Bags, recipe: Recipe) -> "Imitation":
        """Ask the float head, before it changes, about every clip."""
        head.eval()
        scores = torch.cat([head.standard_scores(maps) for maps in bags.in_order()])
        return cls(head, recipe, scores, head.classify(scores))

    def __call__(self, batch: Batch) -> Tensor:
        """Loss of a batch: a scalar."""
        scores = self.head.standard_scores(batch.maps)
        logits = self.head.classify(scores)
        return (
            self.recipe.loss(logits, batch.targets)
            + SCORES_WEIGHT * functional.mse_loss(scores, self.scores[batch.rows])
            + LOGITS_WEIGHT * functional.mse_loss(logits, self.logits[batch.rows])
        )


def anneal(
    head: Protobin,
    bags: Bags,
    recipe: Recipe,
    *,
    seed: int,
    validation: Bags | None = None,
    on_epoch: OnEpoch | None = None,
    progress: str | None = None,
) -> None:
    """Turn a trained float head, in place, into a fully binary one.

    Parameters
    ----------
    head : Protobin
        With a learned offset and standardised scores.
    bags : Bags
        The clips it was trained on.
    recipe : Recipe
        Of this second descent.
    seed : int
    validation : Bags, optional
        The best of the fully binary epochs by these clips is kept.
    on_epoch : callable, optional
        As of `Descent`; the epochs before the tokens are signs are not judged.
    progress : str, optional
        Name of a progress bar.
    """

    def mix(done: float) -> None:
        head.sign_share = min(1.0, done / ANNEALED)

    objective = Imitation.of(head, bags, recipe)
    descent = Descent(
        head, recipe, len(bags), objective, before_step=mix, settled=ANNEALED, on_epoch=on_epoch
    )
    descend([descent], bags, validation, seed=seed, progress=progress and f"{progress}, to 1 bit")
    head.sign_share = 1.0
