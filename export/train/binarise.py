"""From float tokens to one bit: the signs learn to score as the float tokens did.

The head goes on from the float head with signs around thresholds for tokens, and is held to its
former self, clip by clip: to its standardised prototype scores and its logits, besides the labels.
The labels say little about 200 prototypes; the scores of the float head say where each belongs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from export.heads.protobin import Protobin
from export.train.bags import Bags, Batch
from export.train.descend import Descent, Recipe, descend

SCORES_WEIGHT = 3.0
"""Of the mean squared difference of standardised prototype scores."""

LOGITS_WEIGHT = 1.0
"""Of the mean squared difference of logits."""


def thresholds_for(n_dims: int) -> int:
    """R, thresholds of a token component: the fewer components, the more of their size counts."""
    return max(1, min(4, 1024 // n_dims))


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


def binarise(
    head: Protobin,
    bags: Bags,
    recipe: Recipe,
    *,
    seed: int,
    n_thresholds: int | None = None,
    validation: Bags | None = None,
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
    n_thresholds : int, optional
        R; default: `thresholds_for`.
    validation : Bags, optional
        The best epoch by these clips is kept.
    progress : str, optional
        Name of a progress bar.
    """
    objective = Imitation.of(head, bags, recipe)
    head.binarise(bags.sample(), n_thresholds or thresholds_for(bags.shape.n_dims))
    descent = Descent(head, recipe, len(bags), objective)
    descend([descent], bags, validation, seed=seed, progress=progress and f"{progress}, to 1 bit")
