"""``edge-export fit``: clips in, bundle out."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import between, number
from edge_probe.errors import EdgeProbeError
from export.commands.tokens import (
    add_clip_arguments,
    open_cache,
    report_unreadable,
    whole_number,
)

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle

_log = logging.getLogger(__name__)

BITS = ("1", "4", "8", "float")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``fit``."""
    add_clip_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle")
    parser.add_argument("--replace", action="store_true", help="replace a bundle of that name")
    parser.add_argument("--name", help="name of the bundle (default: the folder's)")
    parser.add_argument(
        "--no-background", action="store_true",
        help="train without background clips; the bundle will warn about it at every load",
    )  # fmt: skip
    parser.add_argument(
        "--site-audio", type=Path, metavar="DIR",
        help="then count unreviewed detections per hour on unlabelled recordings",
    )  # fmt: skip
    head = parser.add_argument_group("head")
    head.add_argument(
        "--head", choices=("protobin", "mean-linear"),
        help="default: the better one on clips that were held out",
    )  # fmt: skip
    head.add_argument(
        "--bits", choices=BITS,
        help="token precision of a protobin head (default: the smallest that loses little)",
    )  # fmt: skip
    head.add_argument(
        "--loss-budget", type=number(0, 100), default=0.5, metavar="POINTS",
        help="macro mAP, in percent, that a smaller precision may lose (default 0.5)",
    )  # fmt: skip
    head.add_argument(
        "--linear", choices=("int8", "int8-sparse", "float32"),
        help="weights of a protobin head's linear layer (default int8)",
    )  # fmt: skip
    head.add_argument(
        "--prototypes-per-class", type=whole_number(1, 10_000), metavar="J",
        help="default: 20, or as many as --tuned was found with",
    )  # fmt: skip
    head.add_argument("--no-offset", action="store_true", help="do not learn a token offset")
    head.add_argument(
        "--class-bound", action="store_true",
        help="a class sees only its own prototypes: for hundreds of classes",
    )  # fmt: skip
    head.add_argument(
        "--loudest-chunks", type=whole_number(1, 10_000), metavar="N",
        help="learn from the N loudest chunks of a clip only",
    )  # fmt: skip
    head.add_argument(
        "--epochs", type=whole_number(1, 10_000), metavar="N",
        help="of each descent (default: 30, and 40 from float to 1-bit tokens)",
    )  # fmt: skip
    head.add_argument(
        "--tuned", type=Path, metavar="FILE.json",
        help="train as edge-export tune found best for protobin-1bit or protobin-offset (before "
        "them protobin-bound, with --class-bound), and for linear-mean",
    )  # fmt: skip
    head.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0)
    _add_threshold_arguments(parser)
    window = parser.add_argument_group("window")
    window.add_argument("--window-chunks", type=whole_number(1, 10_000), default=2, metavar="K")
    window.add_argument("--hop-chunks", type=whole_number(1, 10_000), default=1, metavar="H")
    window.add_argument("--refractory-s", type=float, default=0.0, metavar="S")


def _add_threshold_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("thresholds", "--favour, or one of two targets")
    rule = group.add_mutually_exclusive_group()
    rule.add_argument(
        "--favour", choices=("recall", "balance", "precision"), default="balance",
        help="what thresholds should spare you: missed calls or false alarms (default: balance)",
    )  # fmt: skip
    rule.add_argument(
        "--target-precision", type=between(0, 1), metavar="P",
        help="this share of the held-out clips above a threshold holds the class, like 0.9",
    )  # fmt: skip
    rule.add_argument(
        "--max-false-alarms-per-hour", type=number(0), metavar="R",
        help="of each class, on the background clips",
    )  # fmt: skip
    gate = parser.add_argument_group("noise gate", "no bundle is written if a class fires on noise")
    gate.add_argument(
        "--noise", type=Path, metavar="DIR", help="recordings that hold none of the classes"
    )
    gate.add_argument(
        "--max-noise-detections-per-hour", type=number(0), metavar="R",
        help="of each class, on them and on made-up noise (default: the false alarms that are "
        "allowed, else 1, and made-up noise only warns)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train, write, report."""
    from edge_probe.spec import WindowSpec
    from export.clips import read_clips
    from export.site_audio import recordings_below

    _refuse_contradictions(args)
    cache = open_cache(args)
    clips = read_clips(
        args.clips, args.folds, cache.card.spec.chunk_s * args.window_chunks, without_test=True
    )
    site = recordings_below(args.site_audio) if args.site_audio else []
    noise = recordings_below(args.noise) if args.noise else []

    from export.assemble import Job, fit_bundle  # torch: seconds, after what can be refused
    from export.noise_gate import NoiseGate
    from export.precision import candidates
    from export.train import HeadOptions

    options = HeadOptions(
        linear=args.linear or "int8",
        class_bound=args.class_bound,
        learn_offset=not args.no_offset,
    )
    heads = candidates(args.head, args.bits)
    if args.tuned:
        from export.tokens import encoder_key
        from export.train.configuration import tuned_options
        from export.tune.tuned import read_tuned

        options = tuned_options(options, read_tuned(args.tuned, encoder_key(cache.card)), heads)
    if args.prototypes_per_class:
        options = replace(options, prototypes_per_class=args.prototypes_per_class)
    if args.epochs:
        options = replace(
            options,
            recipe=replace(options.recipe, epochs=args.epochs),
            sign_recipe=replace(options.sign_recipe, epochs=args.epochs),
            probe_recipe=options.probe_recipe and replace(options.probe_recipe, epochs=args.epochs),
        )
    windows = WindowSpec(args.window_chunks, args.hop_chunks, args.refractory_s)
    gate = NoiseGate(tuple(noise), args.channel, args.max_noise_detections_per_hour)
    if args.max_false_alarms_per_hour is not None:
        gate = replace(gate, target_per_hour=args.max_false_alarms_per_hour)
    job = Job(
        args.name or args.out.name, cache.card, options, windows, args.seed, args.no_background,
        heads, args.loss_budget, args.loudest_chunks,
        args.favour, args.target_precision, args.max_false_alarms_per_hour, gate,
    )  # fmt: skip
    outcome = fit_bundle(clips, cache, job, args.out, replace=args.replace)
    report_unreadable(outcome.left_out)
    for line in outcome.warnings:
        _log.warning("%s", line)
    print(f"bundle    {outcome.bundle.id}  ({args.out})")
    print(f"classes   {len(clips.labels)}; background clips: {clips.n_background}")
    print(f"head      {outcome.choice.name}: {outcome.choice.reason}")
    if outcome.held_out_accuracy is not None:
        print(f"held out  {outcome.held_out_accuracy:.1%} of single-label clips named right")
    for what, rate in outcome.noise.rates.items():
        print(f"noise     at most {rate.per_hour_max:.1f} detections of a class per hour of {what}")
    if site:
        _show_site(outcome.bundle, site, args.channel)
    return 0


def _show_site(bundle: "Bundle", site: list[Path], channel: int | None) -> None:
    from export.site_audio import site_rate

    rate = site_rate(bundle, site, channel)
    report_unreadable(rate.unreadable)
    print(f"\nunreviewed detections on {rate.hours:.2f} h of unlabelled audio, per hour:")
    for label, count in sorted(rate.detections.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count / rate.hours:10.1f}  {label}")


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.hop_chunks > args.window_chunks:
        raise EdgeProbeError(
            f"a hop of {args.hop_chunks} chunks is longer than a window of {args.window_chunks}",
            hint="choose --hop-chunks between 1 and --window-chunks",
        )
    if args.head == "mean-linear" and (args.bits or args.linear or args.class_bound):
        raise EdgeProbeError(
            "a mean-linear head is float throughout and has no prototypes: --bits, --linear and "
            "--class-bound do not apply to it",
            hint="leave them out, or choose --head protobin",
        )
    if args.class_bound and args.linear:
        raise EdgeProbeError(
            "the linear layer of a class-bound head is int8 for its own prototypes: --linear does "
            "not apply",
            hint="leave one of --class-bound and --linear out",
        )
    if args.no_offset and args.head != "mean-linear" and args.bits in (None, "1"):
        raise EdgeProbeError(
            "1-bit tokens are signs around the token offset: --no-offset does not go with them",
            hint="choose --bits 4, 8 or float with --no-offset",
        )
