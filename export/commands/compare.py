"""``edge-export compare``: encoders x heads x precisions, judged on the same clips."""

import argparse
from pathlib import Path

from export.commands.tokens import whole_number

DEFAULT_HEADS = ("linear-mean", "protobin", "protobin-offset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``compare``."""
    parser.add_argument(
        "clips", type=Path, nargs="+",
        help="CSV manifests or folders, as for fit; a column split says what is what, else a "
        "fifth of the recordings is kept for validation and a fifth for the test",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", nargs="+", required=True, metavar="FILE.onnx[,CARD.toml]",
        help="frozen encoder graphs; one graph may come with several cards",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="results and work in progress")  # fmt: skip
    parser.add_argument("--heads", nargs="+", default=list(DEFAULT_HEADS), metavar="NAME",
                        help=f"default: {' '.join(DEFAULT_HEADS)}; 'all' takes all")  # fmt: skip
    parser.add_argument("--seeds", type=whole_number(1, 100), default=5, metavar="N")
    parser.add_argument("--prototypes-per-class", type=whole_number(1, 10_000), nargs="+",
                        default=[20], metavar="J", help="several give a J curve")  # fmt: skip
    parser.add_argument("--epochs", type=whole_number(1, 10_000), default=30)
    parser.add_argument("--tuned", type=Path, metavar="FILE.json",
                        help="recipes of edge-export tune, not the built-in trials")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=Path("token_cache"), metavar="DIR")
    parser.add_argument("--workers", type=whole_number(1, 256), metavar="N",
                        help="processes (default: as many as there are CPU cores)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Compare, write, report."""
    from export.card import read_card
    from export.compare.write import write_comparison
    from export.heads import HEADS

    heads = list(HEADS) if args.heads == ["all"] else args.heads
    refuse_unknown(heads, HEADS)
    cards = [read_card(*map(Path, text.split(",", 1))) for text in args.encoder]

    from edge_probe.processes import available_cores
    from export.compare.run import Plan
    from export.compare.run import run as run_plan
    from export.compare.trials import tuned_trials
    from export.tokens import encoder_key
    from export.train import Recipe
    from export.tune.tuned import read_tuned

    tuned = {}
    for card in cards if args.tuned else []:  # of one encoder, and refused for any other
        tuned = tuned_trials(read_tuned(args.tuned, encoder_key(card)))

    plan = Plan(
        args.clips, cards, list(dict.fromkeys(heads)), range(args.seeds),
        list(dict.fromkeys(args.prototypes_per_class)),
        Recipe(epochs=args.epochs), tuned, args.cache, args.out / "work",
        args.workers or available_cores(),
    )  # fmt: skip
    print(write_comparison(run_plan(plan), args.out))
    return 0


def refuse_unknown(names: list[str], known: object) -> None:
    """Refuse a head that does not exist."""
    from difflib import get_close_matches

    from edge_probe.errors import EdgeProbeError

    for name in names:
        if name not in known:  # type: ignore[operator]
            near = get_close_matches(name, list(known), 1)  # type: ignore[call-overload]
            raise EdgeProbeError(
                f"there is no head {name!r}",
                hint=f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}",  # type: ignore[arg-type]
            )
