"""One budget of trials, many processes: each trial once, none lost, whatever is killed."""

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import Trial, TrialState
from support.shared_trials import (
    DEADLINE_S,
    all_trials,
    joined,
    rate,
    runs,
    shared_study,
    wait_until,
)

from export.tune.storage import StudyError, open_storage


@pytest.mark.parametrize("database", [False, True])
def test_processes_share_a_budget_and_run_no_trial_twice(database: bool, tmp_path: Path) -> None:
    n_slots = 12 if database else 24
    where = f"sqlite:///{tmp_path}/study.db" if database else str(tmp_path / "study.journal")
    with joined(where, n_slots, tmp_path, n_processes=2) as processes:
        assert [process.wait(DEADLINE_S) for process in processes] == [0, 0]
    done = runs(tmp_path)
    assert sorted(slot for _, slot, _ in done) == list(range(n_slots))
    assert len({process for process, _, _ in done}) == 2
    trials = all_trials(open_storage(where))
    counted = [trial for trial in trials if trial.state != TrialState.FAIL]
    assert {trial.number for trial in counted} == {number for _, _, number in done}
    assert all(trial.state == TrialState.COMPLETE for trial in counted)
    assert len({tuple(trial.params.values()) for trial in counted}) == n_slots


def test_a_killed_process_is_waited_for_while_it_lives_and_replaced_when_it_is_dead(
    tmp_path: Path,
) -> None:
    where, n_slots, silence_s = str(tmp_path / "study.journal"), 8, 1.2
    with joined(where, n_slots, tmp_path, 1, silence_s=silence_s, hang_in=2) as (process,):
        wait_until(lambda: len(runs(tmp_path)) == 3)
        study = shared_study(open_storage(where), n_slots, silence_s)
        while trial := study.claim():
            assert trial.user_attrs["slot"] > 2
            study.run(trial, rate)
        looked_until = time.monotonic() + 1.5 * silence_s
        while time.monotonic() < looked_until:
            assert study.claim() is None
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert not study.is_complete
        wait_until(lambda: study.step(rate))
    assert study.is_complete
    given = [2.0 ** -(slot + 1) for slot in range(n_slots // 2)]
    assert [trial.params["rate"] for trial in study.finished()][: len(given)] == given
    failed = [t for t in all_trials(open_storage(where)) if t.state == TrialState.FAIL]
    assert [trial.user_attrs["slot"] for trial in failed] == [2]


def test_an_interrupted_trial_is_the_next_that_is_run(tmp_path: Path) -> None:
    def interrupted(trial: Trial) -> float:
        raise KeyboardInterrupt

    study = shared_study(open_storage(str(tmp_path / "study.journal")), 4)
    first = study.claim()
    assert first is not None
    with pytest.raises(KeyboardInterrupt):
        study.run(first, interrupted)
    again = shared_study(open_storage(str(tmp_path / "study.journal")), 4).claim()
    assert again is not None
    assert again.number != first.number
    assert again.params == first.params


def test_a_result_that_comes_after_the_trial_was_given_away_is_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, quick = (
        shared_study(open_storage(str(tmp_path / "study.journal")), 2, silence_s)
        for silence_s in (60.0, 0.0)
    )
    late = slow.claim()
    assert late is not None

    def overtaken(trial: Trial) -> float:
        assert quick.step(lambda other: 0.5 + other.user_attrs["slot"] / 4)
        assert quick.step(lambda other: 0.5 + other.user_attrs["slot"] / 4)
        return 1.0

    with caplog.at_level(logging.WARNING):
        slow.run(late, overtaken)
    assert [trial.value for trial in slow.finished()] == [0.5, 0.75]
    assert "was abandoned" in caplog.messages[0]
    assert "is dropped" in caplog.messages[1]


def test_of_two_trials_of_a_slot_the_first_counts(tmp_path: Path) -> None:
    """Two processes may put the same slot on the queue in one moment."""
    storage = open_storage(str(tmp_path / "study.journal"))
    study = shared_study(storage, 4)
    for slot in (0, 1, 0, 1):
        optuna.load_study(study_name="study", storage=storage).enqueue_trial(
            {}, user_attrs={"slot": slot}
        )
    while study.step(rate):
        pass
    assert [trial.number for trial in study.finished()] == [0, 1, 4, 5]
    failed = [t.number for t in all_trials(storage) if t.state == TrialState.FAIL]
    assert failed == [2, 3]


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "study.journal"))
    shared_study(storage, 4)
    with pytest.raises(StudyError, match="about 'this' instead of 'that'") as refused:
        shared_study(storage, 4, about="that")
    assert "--study" in str(refused.value.hint)


@pytest.mark.parametrize("content", ["file,label\na.wav,Owl\n", '{"format": 1}', "[1]\n[2]\n"])
def test_a_file_that_is_no_study_is_refused_and_left_alone(content: str, tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    path.write_text(content)
    with pytest.raises(StudyError, match="expected a file of studies"):
        open_storage(str(path))
    assert path.read_text() == content


@pytest.mark.parametrize("url", ["nonsense://x", "postgresql+nodriver://h/x", "sqlite:////no/x"])
def test_a_database_that_cannot_be_opened_is_one_clear_error(url: str) -> None:
    with pytest.raises(StudyError, match="cannot be opened") as refused:
        open_storage(url)
    assert "\n" not in refused.value.message


def test_a_record_that_was_torn_by_a_power_cut_does_not_cost_the_study(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = shared_study(open_storage(str(path)), 4)
    assert study.step(rate)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: -int(rng.integers(1, len(last)))])
    for _ in range(2):
        reopened = shared_study(open_storage(str(path)), 4)
        assert reopened.finished() == []  # the result was the torn record
        reopened.claim()
    assert len(all_trials(open_storage(str(path)))) == 3


def test_on_sqlite_what_was_read_cannot_change_before_it_is_written(tmp_path: Path) -> None:
    """Otherwise two processes read that a trial waits, and both take it."""
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    assert isinstance(storage, RDBStorage)
    with (
        closing(sqlite3.connect(tmp_path / "study.db", timeout=0)) as other,
        storage.engine.begin() as reading,
    ):
        reading.exec_driver_sql("SELECT * FROM trials")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE trials SET state = 'RUNNING'")
    storage.engine.dispose()
