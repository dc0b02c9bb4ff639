"""The outcome of a search as a JSON file: the best configuration of each head, and the evidence."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from edge_probe.errors import EdgeProbeError
from export.train import TRAINABLE, Configuration, Loss, Recipe, entry_of
from export.train.loss import LossKind

if TYPE_CHECKING:
    from export.tune.search import HeadSearch

FORMAT = "edge-export tuned 1"

Facts = dict[str, Any]


def write_tuned(path: Path, about: Mapping[str, Any], searches: "Sequence[HeadSearch]") -> None:
    """Write what finished searches found.

    Parameters
    ----------
    path : Path
        Replaced, if there is one.
    about : mapping
        Plain facts about clips, encoder and budget; ``encoder`` is the encoder's key.
    searches : sequence of HeadSearch
    """
    facts = {
        "format": FORMAT,
        "about": dict(about),
        "heads": {search.head: _head_facts(search) for search in searches},
    }
    fresh = path.with_name(f"{path.name}.part")
    fresh.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)


def _head_facts(search: "HeadSearch") -> Facts:
    candidates = search.candidates()
    return {
        "configuration": _plain(candidates[0].configuration),
        "validation_map_mean": candidates[0].mean,
        "validation_map_sd": candidates[0].sd,
        "candidates": [
            {
                "trial": each.trial,
                "validation_map_mean": each.mean,
                "validation_map_sd": each.sd,
                "validation_map": list(each.scores),
                "configuration": _plain(each.configuration),
            }
            for each in candidates
        ],
        "trials": search.trial_facts(),
    }


def _plain(configuration: Configuration) -> Facts:
    facts = asdict(configuration)
    del facts["head"]
    return facts


def read_tuned(path: Path, encoder: str | None = None) -> dict[str, Configuration]:
    """The best configurations that `write_tuned` wrote, by head.

    Parameters
    ----------
    path : Path
    encoder : str, optional
        Key of the encoder that the heads are wanted for (`export.tokens.encoder_key`).

    Raises
    ------
    EdgeProbeError
        The file is none of ours, was changed into something senseless, or is about another
        encoder.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']!r} instead of {FORMAT!r}")
        known = facts["about"]["encoder"]
        found = {head: _configuration(head, each["configuration"])
                 for head, each in facts["heads"].items()}  # fmt: skip
    except OSError as error:
        raise EdgeProbeError(
            f"{path}: {error.strerror}", hint="name a file that edge-export tune wrote"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise EdgeProbeError(
            f"{path}: is not an outcome of edge-export tune: {reason}",
            hint="run edge-export tune again; finished trials are not repeated",
        ) from error
    if encoder not in (None, known):
        raise EdgeProbeError(
            f"{path}: was tuned on the encoder {known}, not on {encoder}",
            hint="tune the heads on the encoder that they are for",
        )
    return found


def _configuration(head: str, facts: Facts) -> Configuration:
    if head not in TRAINABLE:
        raise ValueError(f"there is no head {head!r}")
    options = facts["options"]
    if set(options) != entry_of(head).options:
        raise ValueError(f"{head} has options {sorted(options)}")
    _check_numbers(options, dict.fromkeys(options, 0.0))
    sign = facts["sign_recipe"]
    read = Configuration(
        head,
        facts["prototypes_per_class"],
        options,
        _recipe(facts["recipe"]),
        None if sign is None else _recipe(sign),
    )
    _check_numbers({"J": read.prototypes_per_class}, {"J": 1})
    return read


def _recipe(facts: Facts) -> Recipe:
    loss = facts["loss"]
    _check_numbers(loss, asdict(Loss()))
    if loss["kind"] not in get_args(LossKind):
        raise ValueError(f"there is no loss {loss['kind']!r}")
    _check_numbers(facts, asdict(Recipe()))
    return Recipe(**{**facts, "loss": Loss(**loss)})


def _check_numbers(found: Facts, like: Facts) -> None:
    """Refuse other keys than those of an example, and numbers that its numbers cannot be."""
    if set(found) != set(like):
        raise ValueError(f"expected {', '.join(like)}, found {', '.join(found)}")
    for key, example in like.items():
        value = found[key]
        if isinstance(example, int):
            right = type(value) is int and value >= 1
        elif isinstance(example, float):
            right = type(value) in (int, float) and math.isfinite(value) and value >= 0
        else:
            right = type(value) is type(example)
        if not right:
            raise ValueError(f"{key} is {value!r}")
