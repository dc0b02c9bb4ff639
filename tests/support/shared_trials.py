"""A study without any training, and processes that join it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution
from optuna.pruners import NopPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from export.tune.shared_study import SharedStudy
from export.tune.storage import open_storage

DEADLINE_S = 60
TESTS = Path(__file__).parents[1]
SPACE = {"rate": FloatDistribution(1e-4, 1.0, log=True), "share": FloatDistribution(0.0, 0.5)}


def shared_study(
    storage: BaseStorage, n_slots: int, silence_s: float = 60.0, about: str = "this"
) -> SharedStudy:
    """Half of the slots have values, TPE chooses those of the others."""
    slots = [{"rate": 2.0 ** -(slot + 1), "share": 0.25} for slot in range(n_slots // 2)]
    slots += [{}] * (n_slots - len(slots))
    return SharedStudy(
        storage, "study", {"about": about}, slots, SPACE, seed=0, pruner=NopPruner(),
        silence_s=silence_s,
    )  # fmt: skip


def rate(trial: Trial) -> float:
    """An objective."""
    return float(trial.params["rate"])


def all_trials(storage: BaseStorage) -> list[FrozenTrial]:
    """Failed ones too."""
    return optuna.load_study(study_name="study", storage=storage).get_trials()


@contextmanager
def joined(
    where: str,
    n_slots: int,
    folder: Path,
    n_processes: int,
    *,
    silence_s: float = 60.0,
    hang_in: int = -1,
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that begin in the same moment and work until the study is complete.

    None of them ends its first trial before all have one. In the slot ``hang_in`` they stay for
    ever.
    """
    arguments = [where, str(n_slots), str(folder), str(n_processes), str(silence_s), str(hang_in)]
    search_path = f"{TESTS.parent}{os.pathsep}{TESTS}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "support.shared_trials", *arguments],
            env={**os.environ, "PYTHONPATH": search_path},
        )
        for _ in range(n_processes)
    ]
    try:
        wait_until(lambda: len(list(folder.glob("ready*"))) == n_processes)
        (folder / "go").touch()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def runs(folder: Path) -> list[tuple[int, ...]]:
    """Process, slot and number of every trial that `joined` processes began, in order."""
    path = folder / "runs"
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def join(
    where: str, n_slots: int, folder: Path, n_processes: int, silence_s: float, hang_in: int
) -> None:
    """What a process of `joined` does."""

    def objective(trial: Trial) -> float:
        slot = trial.user_attrs["slot"]
        with (folder / "runs").open("a") as file:
            file.write(f"{os.getpid()} {slot} {trial.number}\n")
        wait_until(lambda: len({process for process, _, _ in runs(folder)}) == n_processes)
        time.sleep(600 if slot == hang_in else 0.01)
        return rate(trial)

    (folder / f"ready{os.getpid()}").touch()
    wait_until(lambda: (folder / "go").exists())
    study = shared_study(open_storage(where), n_slots, silence_s)
    while not study.is_complete:
        if trial := study.claim():
            study.run(trial, objective)
        else:
            time.sleep(0.05)


if __name__ == "__main__":
    where, n_slots, folder, n_processes, silence_s, hang_in = sys.argv[1:]
    join(where, int(n_slots), Path(folder), int(n_processes), float(silence_s), int(hang_in))
