"""``edge-export tune``: search for the learning rate, weight decay and dropout of heads."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.errors import EdgeProbeError
from export.commands.tokens import (
    add_clip_arguments,
    open_cache,
    report_unreadable,
    whole_number,
)

if TYPE_CHECKING:
    from export.tune.search import HeadSearch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``tune``."""
    add_clip_arguments(parser)
    parser.add_argument(
        "--head", nargs="+", required=True, metavar="NAME",
        help="heads, each with the same budget; a name that does not exist lists all",
    )  # fmt: skip
    parser.add_argument(
        "--study", default="tune.journal", metavar="FILE|URL",
        help="where trials are kept; processes that name the same one share the work (default: "
        "tune.journal). A file, or a database such as postgresql://user@host/name",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("tuned.json"), metavar="FILE.json",
        help="the best configurations (default: tuned.json)",
    )  # fmt: skip
    budget = parser.add_argument_group("budget of each head")
    budget.add_argument("--trials", type=whole_number(2, 10_000), default=50, metavar="N")
    budget.add_argument(
        "--top", type=whole_number(1, 100), default=3, metavar="N",
        help="configurations that are trained again with several seeds (default: 3)",
    )  # fmt: skip
    budget.add_argument("--seeds", type=whole_number(1, 100), default=5, metavar="N")
    budget.add_argument("--epochs", type=whole_number(1, 10_000), default=30, metavar="N")
    budget.add_argument(
        "--prototypes-per-class", type=whole_number(1, 10_000), default=20, metavar="J"
    )
    budget.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0)


def run(args: argparse.Namespace) -> int:
    """Join the studies of the heads; when they are over, write and print what they found."""
    from dataclasses import asdict

    from export.clips import read_clips
    from export.train import TRAINABLE
    from export.tune.search import Plan, tune
    from export.tune.storage import open_storage
    from export.tune.subject import Subject
    from export.tune.tuned import write_tuned

    heads = list(dict.fromkeys(args.head))
    for head in heads:
        if head not in TRAINABLE:
            raise EdgeProbeError(
                f"there is no head {head!r}", hint=f"choose from {', '.join(TRAINABLE)}"
            )
    if not args.out.parent.is_dir():
        raise EdgeProbeError(
            f"{args.out.parent}: no such folder for --out", hint="create it, or choose another"
        )
    cache = open_cache(args)
    clips = read_clips(args.clips, args.folds, cache.card.spec.chunk_s)
    storage = open_storage(args.study)
    encoded = cache.encode(clips.clips, "encode")
    report_unreadable([*clips.left_out, *encoded.unreadable])
    plan = Plan(
        args.trials, args.top, args.seeds, args.epochs, args.prototypes_per_class, args.seed
    )
    subject = Subject.of(clips, encoded, cache)
    searches = tune(storage, heads, subject, plan)
    about = {"encoder_name": cache.card.provenance["name"], **subject.about, **asdict(plan)}
    write_tuned(args.out, about, searches)
    _show(searches)
    print(f"\nwritten to {args.out}")
    return 0


def _show(searches: "Sequence[HeadSearch]") -> None:
    """The winner of each head, one line each."""
    for search in searches:
        best = search.candidates()[0]
        recipe = best.configuration.recipe
        values = {"learning rate": recipe.learning_rate, "weight decay": recipe.weight_decay}
        values |= best.configuration.options
        if best.configuration.sign_recipe is not None:
            values["learning rate to 1 bit"] = best.configuration.sign_recipe.learning_rate
        chosen = ", ".join(f"{name} {value:.2g}" for name, value in values.items())
        print(
            f"{search.head:<16} validation mAP {best.mean:.1%} ± {best.sd:.1%} over "
            f"{len(best.scores)} seeds: {chosen}"
        )
