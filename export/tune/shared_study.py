"""A budget of trials that several processes share, each of them run once.

The budget is a row of slots. A process that wants work puts the first free slot on the queue of
the study and takes what comes out of it: taking is atomic in the storage. Two processes may put
the same slot there in the same moment, so one rule decides: *of the trials of a slot that have not
failed, the one with the lowest number counts*; whoever draws another one lets it fail. A trial
fails as well when it is interrupted, and when the process that runs it shows no sign of life: its
slot is then free again. So the trials that count are as many as the slots, whatever was killed.

Signs of life are a count that every process raises while it runs a trial, and whoever looks for
work takes notice by a clock of its own. Clocks of different machines are never compared.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from export.tune.storage import StudyError

_log = logging.getLogger(__name__)

SILENCE_S = 60.0
"""A trial whose process gave no sign of life for so long counts as failed."""
BEATS_PER_SILENCE = 6

SLOT, BEAT, ABOUT = "slot", "beat", "about"


class SharedStudy:
    """One study of the storage.

    Parameters
    ----------
    storage : BaseStorage
    name : str
    about : mapping
        What the study is about: plain values, the same in every process that joins.
    slots : sequence of mappings
        The values of each trial of the budget; where there are none, TPE chooses.
    space : mapping of parameter to distribution
    seed : int
        Of TPE.
    pruner : BasePruner
    silence_s : float
        After which a process that runs a trial counts as dead; the same in all of them.

    Raises
    ------
    StudyError
        The storage holds a study of that name about something else.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        about: Mapping[str, Any],
        slots: Sequence[Mapping[str, float]],
        space: Mapping[str, BaseDistribution],
        *,
        seed: int,
        pruner: BasePruner,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.name = name
        self._about, self._slots, self._space = dict(about), slots, dict(space)
        self._seed, self._silence_s = seed, silence_s
        self._heard: dict[int, tuple[int, float]] = {}
        self._study = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True,
            pruner=pruner,
        )  # fmt: skip
        if ABOUT not in self._study.user_attrs:
            self._study.set_user_attr(ABOUT, self._about)
        self._check_subject()

    def __len__(self) -> int:
        return len(self._slots)

    def finished(self) -> list[FrozenTrial]:
        """The trials that count and have come to an end, pruned ones among them, by slot."""
        counting = self._counting()
        return [counting[slot] for slot in sorted(counting) if counting[slot].state.is_finished()]

    @property
    def is_complete(self) -> bool:
        """Whether the budget is spent."""
        return len(self.finished()) == len(self)

    def step(self, objective: Callable[[Trial], float]) -> bool:
        """Run one trial; False if other processes run all that are left."""
        trial = self.claim()
        if trial is not None:
            self.run(trial, objective)
        return trial is not None

    def claim(self) -> Trial | None:
        """A trial that this process alone must `run` now; None if others run all that are left."""
        self._check_subject()
        self._fail_silent()
        while (slot := self._next_slot()) is not None:
            self._study.sampler = TPESampler(seed=_mixed(self._seed, slot), n_startup_trials=1)
            trial = self._study.ask(self._space)
            if trial.number in {counting.number for counting in self._counting().values()}:
                return trial
            self._end(trial, TrialState.FAIL)
        return None

    def run(self, trial: Trial, objective: Callable[[Trial], float]) -> None:
        """Run a claimed trial to its end; interrupted, its slot is free again."""
        state, value = TrialState.COMPLETE, None
        try:
            with self._beating(trial):
                value = objective(trial)
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except UpdateFinishedTrialError:
            pass  # it is no longer ours, see below
        except BaseException:
            self._end(trial, TrialState.FAIL)
            raise
        if not self._end(trial, state, value):
            _log.warning(
                "%s: the result of trial %d is dropped: for %g s this process seemed dead to "
                "another, and the trial was given away", self.name, trial.number, self._silence_s,
            )  # fmt: skip

    def _end(self, trial: Trial | int, state: TrialState, value: float | None = None) -> bool:
        """Put an end to a trial; False if another process has done so already."""
        try:
            return self._study.tell(trial, value, state, skip_if_finished=True).state == state
        except UpdateFinishedTrialError:
            return False

    def _check_subject(self) -> None:
        known = self._study.user_attrs[ABOUT]
        if known == self._about:
            return
        keys = [key for key in self._about | known if self._about.get(key) != known.get(key)]
        differences = ", ".join(
            f"{key} {_short(known.get(key))} instead of {_short(self._about.get(key))}"
            for key in keys
        )
        raise StudyError(
            f"the study {self.name!r} is about something else: it has {differences}",
            hint="choose a new file for --study, or ask for what this one is about",
        )

    def _counting(self) -> dict[int, FrozenTrial]:
        """The trial that counts, by slot; slots without one are free."""
        counting: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state != TrialState.FAIL and SLOT in trial.user_attrs:
                counting.setdefault(trial.user_attrs[SLOT], trial)
        return counting

    def _next_slot(self) -> int | None:
        """A slot whose trial waits on the queue, put there now if need be; None without any."""
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if waiting:
            return int(waiting[0].user_attrs[SLOT])
        counting = self._counting()
        free = next((slot for slot in range(len(self)) if slot not in counting), None)
        if free is not None:
            self._study.enqueue_trial(dict(self._slots[free]), user_attrs={SLOT: free})
        return free

    def _fail_silent(self) -> None:
        """Let trials fail that have been running without a sign of life."""
        now = time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            beat = trial.user_attrs.get(BEAT, 0)
            last, since = self._heard.get(trial.number, (None, now))
            if beat != last:
                self._heard[trial.number] = (beat, now)
            elif now - since > self._silence_s:
                _log.warning("%s: trial %d was abandoned; it is run again", self.name, trial.number)
                self._end(trial.number, TrialState.FAIL)

    @contextmanager
    def _beating(self, trial: Trial) -> Iterator[None]:
        """Give signs of life while the block runs."""
        done = Event()

        def beat() -> None:
            count = 0
            while not done.wait(self._silence_s / BEATS_PER_SILENCE):
                count += 1
                try:
                    trial.set_user_attr(BEAT, count)
                except (UpdateFinishedTrialError, StorageInternalError, OSError):
                    return  # who runs the trial meets the same error at its next report

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _mixed(seed: int, slot: int) -> int:
    """A seed of its own for every slot, so that no two processes draw the same values."""
    return int(np.random.SeedSequence([seed, slot]).generate_state(1)[0])


def _short(value: object) -> str:
    return f"{str(value)[:12]}..." if isinstance(value, str) and len(value) > 40 else repr(value)
