"""What is searched, and where the search begins.

Ranges of learning rate and weight decay are those of arXiv 2509.24901; dropout belongs to our
heads, and so does the learning rate of the way to one bit.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from optuna.distributions import FloatDistribution
from scipy.stats import qmc

from export.train import ONE_BIT, Configuration, entry_of
from export.train.fit import FLOAT_RECIPE, SIGN_RECIPE

Space = Mapping[str, FloatDistribution]

LEARNING_RATE = FloatDistribution(1e-4, 7e-3, log=True)
PROTOTYPE_LEARNING_RATE = FloatDistribution(2e-3, 8e-2, log=True)
WEIGHT_DECAY = FloatDistribution(1e-5, 5e-4, log=True)
DROPOUT = FloatDistribution(0.0, 0.5)
SIGN_LEARNING_RATE = FloatDistribution(3e-4, 3e-2, log=True)
"""A tenth to ten times that of `SIGN_RECIPE`."""


def search_space(head: str) -> Space:
    """Ranges by parameter, for a head of `TRAINABLE`."""
    entry = entry_of(head)
    space = {
        "learning_rate": PROTOTYPE_LEARNING_RATE if entry.has_prototypes else LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
    }
    if "dropout" in entry.options:
        space["dropout"] = DROPOUT
    if head == ONE_BIT:
        space["sign_learning_rate"] = SIGN_LEARNING_RATE
    return space


def sobol_points(space: Space, n_points: int, seed: int) -> list[dict[str, float]]:
    """The first points of a scrambled Sobol sequence over a space.

    Optuna's own sampler counts them in the storage, and two processes may read the same count:
    here a trial knows the number of its point.
    """
    n_drawn = (n_points - 1).bit_length()
    unit = qmc.Sobol(len(space), rng=np.random.default_rng(seed)).random_base2(n_drawn)[:n_points]
    return [
        {name: _at(space[name], float(share)) for name, share in zip(space, row, strict=True)}
        for row in unit
    ]


def _at(distribution: FloatDistribution, share: float) -> float:
    low, high = distribution.low, distribution.high
    if distribution.log:
        return float(np.exp(np.log(low) + share * np.log(high / low)))
    return low + share * (high - low)


def configuration(
    head: str, values: Mapping[str, float], *, prototypes_per_class: int, epochs: int
) -> Configuration:
    """The configuration that values of a search space stand for.

    Parameters
    ----------
    head : str
        One of `TRAINABLE`.
    values : mapping of parameter to value
        All those of ``search_space(head)``.
    prototypes_per_class : int
        J
    epochs : int
        Of the float descent; the one to signs is longer, in the proportion of the default recipes.
    """
    weight_decay = values["weight_decay"]
    sign_recipe = None
    if head == ONE_BIT:
        sign_recipe = replace(
            SIGN_RECIPE,
            epochs=round(epochs * SIGN_RECIPE.epochs / FLOAT_RECIPE.epochs),
            learning_rate=values["sign_learning_rate"],
            weight_decay=weight_decay,
        )
    return Configuration(
        head,
        prototypes_per_class,
        {name: values[name] for name in sorted(entry_of(head).options)},
        replace(
            FLOAT_RECIPE,
            epochs=epochs,
            learning_rate=values["learning_rate"],
            weight_decay=weight_decay,
        ),
        sign_recipe,
    )
