"""``edge-probe selftest``: the bundle's conformance vectors, rerun on this machine."""

import argparse
import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_probe.bundle import Stage

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``selftest``."""
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="default: the demo bundle"
    )
    parser.add_argument(
        "--profile",
        choices=["low-memory", "fast"],
        default="low-memory",
        help="encoder session to test (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per stage")


def run(args: argparse.Namespace) -> int:
    """Print a line per stage; 0 if all of them passed, 1 if not."""
    from edge_probe.bundle import open_bundle, selftest
    from edge_probe.commands.classify import DEMO_BUNDLE

    bundle = open_bundle(DEMO_BUNDLE if args.bundle is None else args.bundle)
    for warning in bundle.warnings:
        log.warning("%s", warning)
    stages = selftest(bundle, args.profile)
    passed = all(stage.passed for stage in stages)
    if args.json:
        for stage in stages:
            print(json.dumps(_fields(stage)))
    else:
        print(f"bundle    {bundle.id}")
        _print_table(stages)
        print("selftest  " + ("passed" if passed else "FAILED: do not record with this bundle"))
    return 0 if passed else 1


def _fields(stage: "Stage") -> dict[str, object]:
    return {
        "stage": stage.name,
        "kernel": stage.kernel or None,
        "passed": stage.passed if _is_judged(stage) else None,
        "error": stage.error,
        "allowed": stage.allowed if _is_judged(stage) else None,
    }


def _print_table(stages: "list[Stage]") -> None:
    print(f"{'stage':<16} {'kernel':<22} {'result':<7} {'error':>10} {'allowed':>10}")
    for stage in stages:
        result = ("pass" if stage.passed else "FAIL") if _is_judged(stage) else "-"
        allowed = f"{stage.allowed:.3g}" if _is_judged(stage) else "-"
        print(
            f"{stage.name:<16} {stage.kernel or '-':<22} {result:<7} "
            f"{stage.error:>10.3g} {allowed:>10}"
        )


def _is_judged(stage: "Stage") -> bool:
    """Whether the stage can fail, or only informs."""
    return math.isfinite(stage.allowed)
