"""Gradient descent: several heads over the same batches, each with a recipe of its own."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from export.heads.head import Head
from export.heads.maps import MapShape
from export.heads.protobin import Protobin
from export.metrics import quality
from export.processes import keep_freed_memory
from export.train.bags import Bags, Batch
from export.train.loss import ASYMMETRIC, Loss

AnyHead = TypeVar("AnyHead", bound=Head)

OnEpoch = Callable[[int, float], None]
"""Is told an epoch and its validation mAP."""

MIN_BATCH = 16
MIN_STEPS_PER_EPOCH = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained; defaults follow Rauch et al., arXiv 2509.24901, where it says so."""

    epochs: int = 30
    batch: int = 128
    """Clips of a step; fewer, down to `MIN_BATCH`, where there are not enough for
    `MIN_STEPS_PER_EPOCH` such steps an epoch."""
    learning_rate: float = 1e-2
    """At the start; falls to 0 along half a cosine."""
    weight_decay: float = 1e-4
    """Of AdamW; not on what a head names in ``no_decay``: biases, prototypes, offsets."""
    loss: Loss = ASYMMETRIC
    gradient_norm: float = 1.0
    """Longer gradients are cut to this."""
    patience: int = 15
    """Epochs without a better validation mAP after which training stops."""

    def batch_size(self, n_clips: int) -> int:
        """Clips of a step."""
        return min(self.batch, max(MIN_BATCH, n_clips // MIN_STEPS_PER_EPOCH))

    def steps_per_epoch(self, n_clips: int) -> int:
        """Steps that draw as many clips as there are, or a few more of a small set."""
        return max(MIN_STEPS_PER_EPOCH, -(-n_clips // self.batch_size(n_clips)))


@dataclass(frozen=True, slots=True)
class Labels:
    """The objective of most heads: the loss of the labels, and the head's own penalty."""

    head: Head
    recipe: Recipe

    def __call__(self, batch: Batch) -> Tensor:
        """Loss of a batch: a scalar."""
        return self.recipe.loss(self.head(batch.maps), batch.targets) + self.head.penalty()


class Descent:
    """One head on its way: objective, optimiser, schedule, and its best epoch so far.

    Parameters
    ----------
    head : Head
        Trained in place.
    recipe : Recipe
    n_clips : int
        Training clips.
    objective : callable, optional
        Loss of a `Batch`; default: `Labels`.
    on_epoch : callable, optional
        Told the number of every judged epoch, from 1, and its validation mAP; what it raises ends
        the descent.
    """

    def __init__(
        self,
        head: Head,
        recipe: Recipe,
        n_clips: int,
        objective: Callable[[Batch], Tensor] | None = None,
        *,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.head, self.recipe = head, recipe
        self.n_steps = recipe.epochs * recipe.steps_per_epoch(n_clips)
        self._objective = objective or Labels(head, recipe)
        self._on_epoch = on_epoch
        self._optimizer = torch.optim.AdamW(_groups(head, recipe), lr=recipe.learning_rate)
        self._cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, self.n_steps)
        self._epoch = 0
        self._best: tuple[float, int, dict[str, Tensor]] | None = None
        self.finished = False

    def step(self, batch: Batch) -> None:
        """One step downhill."""
        self.head.train()
        loss = self._objective(batch)
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), self.recipe.gradient_norm)
        self._optimizer.step()
        self._cosine.step()

    def end_epoch(self, validation: Bags | None) -> None:
        """Judge the epoch; stop where `Recipe.patience` is spent."""
        self._epoch += 1
        if validation is None:
            return
        score = quality(logits_of(self.head, validation), validation.targets).macro_map
        if score is None:
            return
        if self._best is None or score > self._best[0]:
            self._best = (score, self._epoch, deepcopy(self.head.state_dict()))
        if self._on_epoch:
            self._on_epoch(self._epoch, score)
        self.finished = self._epoch - self._best[1] >= self.recipe.patience

    def finish(self) -> None:
        """Go back to the best epoch, if epochs were judged."""
        if self._best is not None:
            self.head.load_state_dict(self._best[2])
        self.head.eval()


def _groups(head: Head, recipe: Recipe) -> list[dict[str, object]]:
    """Parameters with and without weight decay."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in head.named_parameters():
        if parameter.requires_grad:
            groups[name not in head.no_decay].append(parameter)
    return [
        {"params": groups[True], "weight_decay": recipe.weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]


def descend(
    descents: Sequence[Descent],
    bags: Bags,
    validation: Bags | None,
    *,
    seed: int,
    progress: str | None = None,
) -> None:
    """Train heads over the same batches until each is finished.

    Parameters
    ----------
    descents : sequence of Descent
    bags : Bags
        Training clips.
    validation : Bags or None
        Other clips: the epoch with their best macro mAP is kept. None keeps the last.
    seed : int
        Of batches and dropout; with the same seed, clips and thread count a head comes out the
        same, alone or among others.
    progress : str, optional
        Name of a progress bar.

    Raises
    ------
    ValueError
        The heads do not share one batch size and one number of epochs: they must go separately.
    """
    recipe = descents[0].recipe
    lengths = {(descent.recipe.epochs, descent.recipe.batch) for descent in descents}
    if len(lengths) > 1:
        raise ValueError(f"expected one (epochs, batch) of all heads, found {sorted(lengths)}")
    keep_freed_memory()
    rng = np.random.default_rng(seed)
    batches = bags.batches(recipe.batch_size(len(bags)), rng)
    per_epoch = recipe.steps_per_epoch(len(bags))
    bar = tqdm(total=recipe.epochs, desc=progress, unit="epoch", disable=progress is None,
               leave=False)  # fmt: skip
    with bar:
        for _ in range(recipe.epochs):
            going = [descent for descent in descents if not descent.finished]
            if not going:
                break
            for _ in range(per_epoch):
                batch, chance = next(batches), int(rng.integers(2**32))
                for descent in going:
                    # no head's dropout depends on what others drew; torch.manual_seed would look
                    # for other devices and take down the whole call stack for each, every time
                    torch.default_generator.manual_seed(chance)
                    descent.step(batch)
            for descent in going:
                descent.end_epoch(validation)
            bar.update()
    for descent in descents:
        descent.finish()


def train_anew(
    build: Callable[[MapShape], AnyHead],
    recipe: Recipe,
    bags: Bags,
    *,
    seed: int,
    validation: Bags | None = None,
    on_epoch: OnEpoch | None = None,
    progress: str | None = None,
) -> AnyHead:
    """Build a head and train it; a protobin head starts from the training tokens.

    Parameters
    ----------
    build : callable
        A head, from torch's random generator, for the shape of ``bags``.
    recipe : Recipe
    bags : Bags
        Training clips.
    seed : int
        Also of the first weights; the same seed, bags and thread count give the same head.
    validation : Bags, optional
        Clips by which the best epoch is kept.
    on_epoch : callable, optional
        As of `Descent`.
    progress : str, optional
        Name of a progress bar.
    """
    torch.manual_seed(seed)
    head = build(bags.shape)
    if isinstance(head, Protobin):
        head.start_from(bags.sample())
    descent = Descent(head, recipe, len(bags), on_epoch=on_epoch)
    descend([descent], bags, validation, seed=seed, progress=progress)
    return head


@torch.no_grad()
def logits_of(head: Head, bags: Bags) -> NDArray[np.float32]:
    """Logits of all clips in evaluation mode, float32: (N, C)."""
    head.eval()
    logits: NDArray[np.float32] = torch.cat([head(maps) for maps in bags.in_order()]).numpy()
    return logits
