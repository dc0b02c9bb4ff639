"""Recipes that are tried for a head, on validation clips, before its seeds are run.

Every head gets the same number of them. Ranges are those of arXiv 2509.24901 (learning rates of
1e-4 to 7e-3, of prototype heads 2e-3 to 8e-2), thinned out; `edge-export tune` searches them
properly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from export.train import Configuration, Recipe
from export.train.configuration import ONE_BIT
from export.train.fit import FLOAT_RECIPE, SIGN_RECIPE


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to train a head."""

    recipe: Recipe = Recipe()  # noqa: RUF009 (frozen)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the head itself: dropout."""
    sign_recipe: Recipe | None = None
    """Of the way to one bit; None: the usual one, with as many epochs in proportion."""

    @property
    def onward(self) -> Recipe:
        """The recipe of the way to one bit."""
        n_epochs = self.recipe.epochs * SIGN_RECIPE.epochs // FLOAT_RECIPE.epochs
        return self.sign_recipe or replace(SIGN_RECIPE, epochs=n_epochs)

    def as_json(self) -> dict[str, Any]:
        """What tells trials apart."""
        return {"learning_rate": self.recipe.learning_rate, **self.options}


_RATES: Mapping[str, Sequence[float]] = {
    "linear": (3e-3, 1e-2, 3e-2),
    "linear-mean": (3e-3, 1e-2, 3e-2),
    "linearc": (3e-3, 1e-2, 3e-2),
    "linpre": (3e-3, 1e-2, 3e-2),
    "proto": (1e-2, 2e-2, 4e-2),
    "protobin": (1e-2, 2e-2, 4e-2),
    "protofloat": (3e-3, 1e-2, 3e-2),
}
_OTHER_RATES = (3e-4, 1e-3, 3e-3)
_DROPOUTS = (0.0, 0.3, 0.6)
_LEARNS_WITH_DROPOUT = frozenset({"protobin-offset", "protobin-bound"})


def has_prototypes(head: str) -> bool:
    """Whether J means anything to a head."""
    return "proto" in head


def trials_of(head: str, base: Recipe) -> list[Trial]:
    """The trials of a head; ``base`` gives all but the learning rate."""
    if head in _LEARNS_WITH_DROPOUT:
        return [Trial(base, {"dropout": share}) for share in _DROPOUTS]
    rates = _RATES.get(head, _OTHER_RATES)
    return [Trial(replace(base, learning_rate=rate)) for rate in rates]


def tuned_trials(found: Mapping[str, Configuration]) -> dict[str, Trial]:
    """The recipes of ``edge-export tune`` for a comparison.

    What it found for the fully binary head says how the head of float tokens goes on.
    """
    trials = {head: Trial(each.recipe, each.options) for head, each in found.items()}
    binary = found.get(ONE_BIT)
    if binary is not None:
        trials.pop(ONE_BIT)
        name = "protobin-offset"
        base = trials.get(name, Trial(binary.recipe, binary.options))
        trials[name] = replace(base, sign_recipe=binary.sign_recipe)
    return trials
