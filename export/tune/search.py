"""The two rounds of a head: trials over the search space, then the best of them over seeds.

As in arXiv 2509.24901: half of the trials are points of a Sobol sequence and run to their end, the
others are drawn by TPE and halved successively (ASHA, Li et al., MLSys 2020): after an eighth of
the epochs, and whenever there have been four times as many, only those go on that are among the
best quarter of all trials so far. The best by validation mAP are then trained again, with seeds
that they were not chosen by.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import NopPruner, SuccessiveHalvingPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from export.metrics import DivergedError, quality
from export.train import Configuration, OnEpoch, logits_of, train_head
from export.tune.shared_study import SILENCE_S, SLOT, SharedStudy
from export.tune.space import configuration, search_space, sobol_points
from export.tune.storage import StudyError
from export.tune.subject import Subject

FIRST_RUNG = 1 / 8
"""Share of the epochs after which trials are compared for the first time."""
REDUCTION = 4
"""One trial of so many goes on; epochs from one comparison to the next grow as much."""
POLL_S = 2.0
"""How often a process looks whether the others have come to an end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The budget, the same for every head."""

    trials: int = 50
    top: int = 3
    """Configurations that are trained again."""
    seeds: int = 5
    """Times that each of them is."""
    epochs: int = 30
    prototypes_per_class: int = 20
    seed: int = 0
    """Of Sobol sequence, TPE and training; the last round has those that follow."""

    @property
    def n_sobol(self) -> int:
        """Trials of the first stage."""
        return -(-self.trials // 2)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the best configurations, and what came of it."""

    trial: int
    """The slot that it comes from."""
    configuration: Configuration
    scores: tuple[float, ...]
    """Validation mAP by seed; 0 where training diverged."""

    @property
    def mean(self) -> float:
        """Of the scores."""
        return float(np.mean(self.scores))

    @property
    def sd(self) -> float:
        """Standard deviation of the scores, as of a sample; 0 for a single one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0


class HeadSearch:
    """Both rounds of one head.

    Parameters
    ----------
    storage : BaseStorage
    head : str
        One of `TRAINABLE`.
    subject : Subject
    plan : Plan
    silence_s : float
        As of `SharedStudy`.

    Raises
    ------
    StudyError
        The storage holds a study of this head about other clips or another plan.
    """

    def __init__(
        self,
        storage: BaseStorage,
        head: str,
        subject: Subject,
        plan: Plan,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.head = head
        self._storage, self._subject, self._plan = storage, subject, plan
        self._silence_s = silence_s
        self._space = search_space(head)
        points = sobol_points(self._space, plan.n_sobol, plan.seed)
        left_to_tpe: list[dict[str, float]] = [{}] * (plan.trials - plan.n_sobol)
        self.trials = self._study(f"{head}: trials", [*points, *left_to_tpe], _halving(plan))

    @cached_property
    def _best(self) -> list[FrozenTrial]:
        """Trials that go into the last round; there must be no trial left to run."""
        whole = [t for t in self.trials.finished() if t.state == TrialState.COMPLETE]
        return sorted(whole, key=lambda t: (-_score(t), t.user_attrs[SLOT]))[: self._plan.top]

    @cached_property
    def _finals(self) -> SharedStudy:
        """The last round: every seed of one configuration, then the next configuration."""
        slots = [trial.params for trial in self._best for _ in range(self._plan.seeds)]
        name = f"{self.head}: best {self._plan.top} over {self._plan.seeds} seeds"
        return self._study(name, slots, NopPruner())

    def _study(
        self,
        name: str,
        slots: Sequence[Mapping[str, float]],
        pruner: optuna.pruners.BasePruner,
    ) -> SharedStudy:
        about = self._subject.about | {
            key: value for key, value in asdict(self._plan).items() if key not in ("top", "seeds")
        }
        return SharedStudy(
            self._storage, name, about, slots, self._space, seed=self._plan.seed, pruner=pruner,
            silence_s=self._silence_s,
        )  # fmt: skip

    @property
    def is_complete(self) -> bool:
        """Whether both rounds are over."""
        return self.trials.is_complete and self._finals.is_complete

    @property
    def n_finished(self) -> int:
        """Trainings of both rounds that are over."""
        n_trials = len(self.trials.finished())
        return n_trials + (len(self._finals.finished()) if self.trials.is_complete else 0)

    @property
    def n_planned(self) -> int:
        """Trainings of both rounds."""
        return self._plan.trials + min(self._plan.top, self._plan.trials) * self._plan.seeds

    def step(self) -> bool:
        """Run one training; False if there is none that another process does not run."""
        if self.trials.step(self._run_trial):
            return True
        return self.trials.is_complete and self._finals.step(self._run_again)

    def candidates(self) -> list[Candidate]:
        """The best configurations by their mean over the seeds, best first; after the end."""
        scores = [_score(trial) for trial in self._finals.finished()]
        n_seeds = self._plan.seeds
        found = [
            Candidate(
                trial.user_attrs[SLOT],
                self._configured(trial.params),
                tuple(scores[rank * n_seeds : (rank + 1) * n_seeds]),
            )
            for rank, trial in enumerate(self._best)
        ]
        return sorted(found, key=lambda candidate: -candidate.mean)

    def trial_facts(self) -> list[dict[str, Any]]:
        """Every trial of the first round in plain values, by slot."""
        return [
            {
                "trial": trial.user_attrs[SLOT],
                "stage": "sobol" if trial.user_attrs[SLOT] < self._plan.n_sobol else "tpe",
                "state": trial.state.name.lower(),
                "validation_map": _score(trial),
                "last_epoch": trial.last_step,
                **trial.params,
            }
            for trial in self.trials.finished()
        ]

    def _configured(self, values: Mapping[str, float]) -> Configuration:
        return configuration(
            self.head, values, prototypes_per_class=self._plan.prototypes_per_class,
            epochs=self._plan.epochs,
        )  # fmt: skip

    def _run_trial(self, trial: Trial) -> float:
        explores = trial.user_attrs[SLOT] < self._plan.n_sobol

        def judge(epoch: int, score: float) -> None:
            trial.report(score, epoch)
            # Asked on behalf of Sobol points too: it sets the marks that TPE's trials must reach.
            if trial.should_prune() and not explores:
                raise optuna.TrialPruned

        return self._train(trial, self._plan.seed, judge)

    def _run_again(self, trial: Trial) -> float:
        nth_seed = trial.user_attrs[SLOT] % self._plan.seeds
        return self._train(trial, self._plan.seed + 1 + nth_seed)

    def _train(self, trial: Trial, seed: int, on_epoch: OnEpoch | None = None) -> float:
        """Validation mAP of a training; 0 where it diverged."""
        subject = self._subject
        try:
            head = train_head(
                self._configured(trial.params), subject.train, seed=seed,
                validation=subject.validation, on_epoch=on_epoch,
                progress=f"{trial.study.study_name}, {trial.number}",
            )  # fmt: skip
            score = quality(
                logits_of(head, subject.validation), subject.validation.targets
            ).macro_map
        except DivergedError:
            return 0.0
        return score or 0.0


def _halving(plan: Plan) -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(max(1, int(plan.epochs * FIRST_RUNG)), REDUCTION)


def _score(trial: FrozenTrial) -> float:
    """Validation mAP of a trial that counts; 0 for one without a judged epoch."""
    return trial.value or 0.0


def tune(
    storage: BaseStorage,
    heads: Sequence[str],
    subject: Subject,
    plan: Plan,
    silence_s: float = SILENCE_S,
) -> list[HeadSearch]:
    """Work on the searches of some heads until all are over, whoever does it.

    Any number of processes may do the same on one storage. Interrupted or killed, the same call
    goes on where it was.

    Parameters
    ----------
    storage : BaseStorage
    heads : sequence of str
        Of `TRAINABLE`, no two the same.
    subject : Subject
    plan : Plan
    silence_s : float
        As of `SharedStudy`.

    Raises
    ------
    StudyError
        The storage holds a study of a head about something else, or can no longer be reached.
    """
    try:
        searches = [HeadSearch(storage, head, subject, plan, silence_s) for head in heads]
        n_finished = sum(search.n_finished for search in searches)
        n_planned = sum(search.n_planned for search in searches)
        with (
            logging_redirect_tqdm(),
            tqdm(total=n_planned, initial=n_finished, desc="tune", unit="training") as bar,
        ):
            while not all(search.is_complete for search in searches):
                worked = any(search.step() for search in searches)
                bar.set_postfix_str("" if worked else "waiting for other processes")
                if not worked:
                    time.sleep(min(POLL_S, silence_s / 10))
                bar.update(sum(search.n_finished for search in searches) - bar.n)
    except StorageInternalError as error:
        raise StudyError(
            "the database of --study no longer answers",
            hint="finished trials are kept; the same command goes on",
        ) from error
    return searches
