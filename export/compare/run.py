"""Run a comparison: encode once, try recipes on validation clips, then run the seeds.

Every finished piece of work is a small JSON file named by what it depends on: interrupted or
killed, the same command goes on where it was, and several may work in one folder.
"""

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_probe import __version__
from edge_probe.errors import EdgeProbeError
from edge_probe.processes import start_worker
from export.card import EncoderCard
from export.clips import read_clips
from export.clips.splits import Splits, split_three_ways
from export.compare.measure import Parts, Row, measure, validate
from export.compare.trials import Trial, has_prototypes, trials_of
from export.material import learnable_targets
from export.metrics import counted_classes
from export.processes import interruptible_between, uninterrupted
from export.tokens import Encoded, TokenCache, encoder_key
from export.train import Bags, Recipe

_log = logging.getLogger(__name__)

_LOOK_S = 0.2
"""Between two looks at what is finished, and for Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared."""

    data: Sequence[Path]
    """Manifests or folders, as `read_clips` takes them."""
    cards: Sequence[EncoderCard]
    heads: Sequence[str]
    seeds: Sequence[int]
    prototypes_per_class: Sequence[int]
    """Several give a J curve."""
    recipe: Recipe
    tuned: Mapping[str, Trial]
    """Recipes found before, by head; they are not tried again."""
    cache: Path
    work: Path
    workers: int


@dataclass(frozen=True, slots=True)
class Job:
    """One head on one data set under one encoder: what a process takes on at a time."""

    data: Path
    card: EncoderCard
    digest: str
    """Of clips, labels, splits and tokens."""
    head: str
    n_own: int
    seeds: Sequence[int]
    trials: Sequence[Trial]
    size: int
    """Token components of all clips."""
    cache: Path
    work: Path


def run(plan: Plan) -> list[Row]:
    """All rows of a comparison.

    Raises
    ------
    EdgeProbeError
        A data set whose validation or test clips judge nothing, two of one name, unreadable clips,
        or a worker that was killed.
    """
    _refuse_namesakes("data sets", [path.stem for path in plan.data])
    _refuse_namesakes("encoders", [str(card.provenance["name"]) for card in plan.cards])
    plan.work.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(path, card, digest, head, n_own, plan.seeds, _trials(plan, head), size, plan.cache,
            plan.work)
        for path in plan.data for card in plan.cards
        for digest, size in [_digest(path, card, plan.cache)]
        for head in plan.heads for n_own in _counts(plan, head)
    ]  # fmt: skip
    if min(plan.workers, len(jobs)) > 1:
        rows = _in_processes(sorted(jobs, key=_cost, reverse=True), plan.workers)
    else:  # a process of its own takes seconds to start
        rows = [row for job in tqdm(jobs, "compare", unit="job") for row in finish(job)]
    order = {job_key(job): index for index, job in enumerate(jobs)}
    return sorted(rows, key=lambda row: (order[row.pop("job")], row["seed"]))


def _refuse_namesakes(what: str, names: Sequence[str]) -> None:
    """Rows of one name would be taken for seeds of one thing."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise EdgeProbeError(
            f"several {what} are called {', '.join(twice)}",
            hint="tables and pictures tell them apart by name: rename the file, or the encoder in "
            "its card",
        )


def _in_processes(jobs: Sequence[Job], n_workers: int) -> list[Row]:
    """Rows of all jobs, each done by one of some processes."""
    rows: list[Row] = []
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, context, start_worker)
    try:
        with uninterrupted():
            waiting = {pool.submit(finish, job) for job in jobs}
        with interruptible_between() as check, tqdm(None, "compare", len(jobs), unit="job") as bar:
            while waiting:
                finished, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
                for future in finished:
                    rows += future.result()
                bar.update(len(finished))
                check()
    except BrokenProcessPool as error:
        raise EdgeProbeError(
            "a process that trains heads was killed, perhaps because memory ran out",
            hint="what is finished is kept: run it again with fewer --workers",
        ) from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()  # each loses the piece it is at
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return rows


def _cost(job: Job) -> int:
    """Roughly, so that the longest jobs are not left for the end."""
    return job.size * (job.n_own if has_prototypes(job.head) else 1)


def _counts(plan: Plan, head: str) -> Sequence[int]:
    """Heads without prototypes are run once, whatever J."""
    return plan.prototypes_per_class if has_prototypes(head) else plan.prototypes_per_class[:1]


def _trials(plan: Plan, head: str) -> Sequence[Trial]:
    return [plan.tuned[head]] if head in plan.tuned else trials_of(head, plan.recipe)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch sums in one order wherever this runs, and jobs do not compete for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def finish(job: Job) -> list[Row]:
    """Do what is left of a job and return its rows."""
    parts: Parts | None = None

    def needed() -> Parts:
        nonlocal parts
        parts = parts or load(job.data, job.card, job.cache)
        return parts

    first = job.seeds[0]
    found = [
        _kept(job, ["trial", trial.as_json(), first],
              lambda trial=trial: validate(needed(), job.head, trial, job.n_own, first))
        for trial in job.trials
    ] if len(job.trials) > 1 else [0.0]  # fmt: skip
    best = job.trials[max(range(len(found)), key=found.__getitem__)]
    rows: list[Row] = []
    for seed in job.seeds:

        def make(seed: int = seed) -> list[Row]:
            return measure(needed(), job.head, best, job.n_own, seed, intervals=seed == first)

        about = _about(job) | {"seed": seed, "trial": best.as_json()}
        rows += [about | row for row in _kept(job, ["seed", best.as_json(), seed], make)]
    return rows


def _about(job: Job) -> Row:
    encoder_bytes = sum(p.stat().st_size for p in (job.card.graph, *job.card.external_data))
    return {
        "job": job_key(job),
        "data": job.data.stem,
        "encoder": job.card.provenance["name"],
        "encoder_bytes": encoder_bytes,
        "n_dims": job.card.spec.grid.n_dims,
        "head": job.head,
        "prototypes_per_class": job.n_own,
    }


def job_key(job: Job) -> str:
    """What a job's results depend on."""
    recipes = [asdict(trial) for trial in job.trials]
    made_of = [__version__, job.digest, job.head, job.n_own, recipes]
    return hashlib.sha256(repr(made_of).encode()).hexdigest()[:20]


def _digest(path: Path, card: EncoderCard, cache: Path) -> tuple[str, int]:
    """Encode what is not in the cache yet; a hash of all that a head learns from, and its size."""
    encoded, labels = _tokens(path, card, cache, f"{path.stem}, {card.provenance['name']}")
    _refuse_unjudged(path, labels, *_split(encoded, labels))
    about = [(c.labels, c.absent, c.unknown, c.group, c.split) for c in encoded.clips]
    made_of = [encoder_key(card), encoded.keys, about, labels]
    size = sum(clip.tokens.size for clip in encoded.tokens)
    return hashlib.sha256(repr(made_of).encode()).hexdigest(), size


def _kept(job: Job, what: list[Any], make: Any) -> Any:
    """A result from its file, or made and written."""
    name = hashlib.sha256(json.dumps([job_key(job), *what]).encode()).hexdigest()[:24]
    path = job.work / f"{name}.json"
    if path.is_file():
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise EdgeProbeError(
                f"{path}: is damaged: {error}", hint="delete it; its piece is then done again"
            ) from error
    result = make()
    part = path.with_suffix(f".{os.getpid()}.part")  # another comparison may be at the same piece
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(path)
    return result


def load(path: Path, card: EncoderCard, cache: Path) -> Parts:
    """The three parts of a data set under one encoder."""
    encoded, labels = _tokens(path, card, cache, None)
    splits, targets = _split(encoded, labels)
    train, validation, test = (
        Bags([encoded.tokens[row] for row in rows], targets[rows], card.spec.grid.n_freq)
        for rows in (splits.train, splits.validation, splits.test)
    )
    groups = (
        [encoded.clips[row].group for row in rows] for rows in (splits.validation, splits.test)
    )
    # clips all of one group are synthetic mixtures, each drawn by itself
    return Parts(
        train, validation, test, *(each if len(set(each)) > 1 else None for each in groups)
    )


def _split(encoded: Encoded, labels: Sequence[str]) -> tuple[Splits, NDArray[np.float32]]:
    """Rows of the three parts, and the targets of all clips."""
    return split_three_ways(encoded.clips), learnable_targets(encoded, labels)


def _refuse_unjudged(
    path: Path, labels: Sequence[str], splits: Splits, targets: NDArray[np.float32]
) -> None:
    """Before anything is trained: clips must be able to tell a good head from a bad one."""
    if not len(splits.train):
        raise EdgeProbeError(f"{path}: no train clips", hint="add recordings, or a column split")
    for name, rows in (("validation", splits.validation), ("test", splits.test)):
        counted = counted_classes(targets[rows])
        if not counted.any():
            raise EdgeProbeError(
                f"{path}: {len(rows)} {name} clips judge nothing: no class has a clip with it and "
                "one without it among them",
                hint="add recordings, or a column split",
            )
        if not counted.all():
            left_out = ", ".join(labels[index] for index in np.flatnonzero(~counted).tolist())
            _log.warning("%s: %s clips say nothing about %s", path, name, left_out)


def _tokens(
    path: Path, card: EncoderCard, cache: Path, progress: str | None
) -> tuple[Encoded, Sequence[str]]:
    clips = read_clips(path, window_s=card.spec.chunk_s)
    encoded = TokenCache(cache, card).encode(clips.clips, progress)
    if encoded.unreadable:
        raise EdgeProbeError(
            f"{path}: {len(encoded.unreadable)} clips cannot be read; the first: "
            f"{encoded.unreadable[0]}",
            hint="every encoder must be judged on the same clips: mend them or leave them out",
        )
    return encoded, clips.labels
