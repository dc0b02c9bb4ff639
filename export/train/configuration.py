"""A head by name, with all that decides how it comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from edge_probe.errors import EdgeProbeError
from export.heads import HEADS, Head, HeadEntry
from export.heads.protobin import Protobin
from export.train.bags import Bags
from export.train.binarise import binarise
from export.train.descend import OnEpoch, Recipe, train_anew
from export.train.fit import FLOAT_RECIPE, HeadOptions

ONE_BIT = "protobin-1bit"
"""``protobin-offset`` that goes on to tokens of one bit."""

TRAINABLE = (*HEADS, ONE_BIT)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A head and how it is trained."""

    head: str
    """One of `TRAINABLE`."""
    prototypes_per_class: int = 20
    """J; without meaning for a head that has none."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Numbers that the head is built with, by the names in `HeadEntry.options`."""
    recipe: Recipe = FLOAT_RECIPE
    sign_recipe: Recipe | None = None
    """Of the way from float tokens to one bit; only and always with `ONE_BIT`."""


def entry_of(head: str) -> HeadEntry:
    """What is built under a name of `TRAINABLE`."""
    return HEADS["protobin-offset" if head == ONE_BIT else head]


def train_head(
    configuration: Configuration,
    bags: Bags,
    *,
    seed: int,
    validation: Bags | None = None,
    on_epoch: OnEpoch | None = None,
    progress: str | None = None,
) -> Head:
    """Build a head and train it.

    Parameters
    ----------
    configuration : Configuration
    bags : Bags
        Training clips.
    seed : int
        The same seed, bags and thread count give the same head.
    validation : Bags, optional
        Clips by which the best epoch is kept.
    on_epoch : callable, optional
        As of `Descent`. The epochs of a second descent count on from the most that the first can
        have.
    progress : str, optional
        Name of a progress bar.
    """
    build = partial(
        entry_of(configuration.head).build,
        prototypes_per_class=configuration.prototypes_per_class, **configuration.options,
    )  # fmt: skip
    head = train_anew(
        build, configuration.recipe, bags,
        seed=seed, validation=validation, on_epoch=on_epoch, progress=progress,
    )  # fmt: skip
    if configuration.sign_recipe is not None and isinstance(head, Protobin):
        binarise(
            head, bags, configuration.sign_recipe, seed=seed, validation=validation,
            on_epoch=on_epoch and _later(on_epoch, configuration.recipe.epochs), progress=progress,
        )  # fmt: skip
    return head


def _later(on_epoch: OnEpoch, n_before: int) -> OnEpoch:
    return lambda epoch, score: on_epoch(n_before + epoch, score)


def tuned_options(
    options: HeadOptions, found: Mapping[str, Configuration], heads: Sequence[str]
) -> HeadOptions:
    """Options of ``fit`` with what was found best for its heads.

    Parameters
    ----------
    options : HeadOptions
        The linear probe keeps their recipe where ``linear-mean`` was not tuned.
    found : mapping of head to Configuration
    heads : sequence of str
        What ``fit`` trains, as in `fit_heads`.

    Raises
    ------
    EdgeProbeError
        None of the configurations is of such a head.
    """
    probe = found.get("linear-mean")
    if set(heads) == {"mean-linear"}:
        wanted: tuple[str, ...] = ("linear-mean",)
    else:
        wanted = (*(["protobin-bound"] if options.class_bound else []), ONE_BIT, "protobin-offset")
    best = next((found[name] for name in wanted if name in found), None)
    if best is None:
        raise EdgeProbeError(
            f"tuned heads are {', '.join(sorted(found))}: none that fit trains here",
            hint=f"tune {' or '.join(wanted)}",
        )
    options = replace(options, probe_recipe=probe.recipe if probe else options.recipe)
    if best is probe:
        return options
    return replace(
        options, recipe=best.recipe, sign_recipe=best.sign_recipe or options.sign_recipe,
        dropout=best.options["dropout"], prototypes_per_class=best.prototypes_per_class,
    )  # fmt: skip
