"""Shards of one survey, joined: what one machine alone would have made, to the byte."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from edge_probe.bundle.publish import sync
from edge_probe.desk.fresh import fresh_folder
from edge_probe.desk.survey.parts import DETECTIONS, FILES, Parts
from edge_probe.desk.survey.plan import Plan
from edge_probe.desk.survey.survey import LIST, Summary, finish
from edge_probe.errors import StateError


def merge(shards: Sequence[Path], out: Path) -> Summary:
    """Join complete shards, each once.

    Parameters
    ----------
    shards : sequence of Path
        In any order; they stay as they are.
    out : Path
        Does not exist yet.

    Raises
    ------
    StateError
        One is missing, given twice, not complete, or of other files or settings.
    OSError
        A disk fails.
    """
    plans = [(folder, Plan.read(folder)) for folder in shards]
    _check(plans)
    for folder, plan in plans:
        parts = Parts(folder)
        if not all(parts.is_done(number) for number in plan.batches()):
            raise StateError(
                f"{folder}: shard {plan.shard} of {plan.n_shards} is not complete",
                hint="give its edge-probe classify command again: it goes on",
            )
    first, whole = shards[0], plans[0][1].whole()
    with fresh_folder(out) as part:
        joined = Parts(part)
        joined.make()
        for folder, plan in plans:
            for number in plan.batches():
                for name in (DETECTIONS, FILES):
                    _copy(Parts(folder).path(name, number), joined.path(name, number))
        _copy(first / LIST, part / LIST)
        summary = finish(part, whole)
        whole.write(part)
        for name in (DETECTIONS, FILES):
            sync(part / name)
    return summary


def _check(plans: Sequence[tuple[Path, Plan]]) -> None:
    """They are the shards of one survey, all of them."""
    (first, expected), *others = plans
    for folder, plan in others:
        if (difference := expected.whole().difference(plan.whole())) is not None:
            raise StateError(
                f"{folder}: is of another survey than {first}: {difference}",
                hint="join shards of the same files, bundle and options",
            )
    by_number: dict[int, Path] = {}
    for folder, plan in plans:
        if plan.n_shards != expected.n_shards:
            raise StateError(
                f"{folder}: expected a shard of {expected.n_shards} as {first}, found one of"
                f" {plan.n_shards}",
                hint="join shards of one division",
            )
        if (twin := by_number.get(plan.shard)) is not None:
            raise StateError(
                f"{folder}: is shard {plan.shard} of {plan.n_shards}, and so is {twin}",
                hint="give each once",
            )
        by_number[plan.shard] = folder
    missing = sorted(set(range(1, expected.n_shards + 1)) - by_number.keys())
    if missing:
        raise StateError(
            f"expected {expected.n_shards} shards, found {len(by_number)}; missing:"
            f" {', '.join(map(str, missing[:10]))}{' ...' if len(missing) > 10 else ''}",
            hint="classify them, or name their folders, too",
        )


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    sync(target)
