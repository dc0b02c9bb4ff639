"""``edge-export refit``: what people said makes the bundle better, or there is no new bundle."""

import dataclasses
import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from support.made_corrections import OTHER_SHA256, write_corrections
from support.refit_world import (
    LABEL,
    N_STREAMS,
    OTHER,
    learned_bundle,
    recorded,
    reviewed,
    said,
    windows,
)
from support.tiny_bundle import tiny_head, write_tiny_bundle

from edge_probe.bundle import Bundle, open_bundle, selftest
from edge_probe.bundle.reader import read_replay
from edge_probe.bundle.tensors import Calibration
from edge_probe.desk.corrections import read_corrections
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Int8Linear,
    PrototypeHead,
    SparseInt8Linear,
)
from edge_probe.head.vectors import steps_of, to_int16
from export.cli import main
from export.noise_gate import NoiseGateError
from export.refit.judge import ClassResult, as_quiet_as, noise_counts, noise_logits
from export.refit.layer import Examples, Rows, fit_rows, with_rows
from export.refit.operating_point import operating_point
from export.refit.refit import Candidate, WorseError, learn, refuse_if_worse

World = tuple[Bundle, Path]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("refit")
    bundle = learned_bundle(folder / "parent")
    return bundle, recorded(folder / "state", bundle)


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Path:
    """The state folder, to be spoiled."""
    return Path(shutil.copytree(world[1], tmp_path / "state"))


def refit(
    bundle: Bundle, state: Path, entries: Sequence[dict[str, Any]], out: Path
) -> tuple[int, Path]:
    file = write_corrections(out.with_suffix(".json"), entries)
    return main(["refit", str(bundle.path), str(state), str(file), "-o", str(out)]), file


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def judged(bundle: Bundle, state: Path) -> float:
    """How often the first class's logit ranks a window that holds it above one that does not."""
    seen = list(windows(state))
    head = bundle.head
    assert isinstance(head, PrototypeHead)
    logits = np.array([head.linear.logits(one.scores)[0] for one in seen])
    holds = np.array([one.holds for one in seen])
    return float(np.mean(logits[holds][:, None] > logits[~holds][None]))


def test_corrections_make_a_better_bundle(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, state = world
    entries = reviewed(state, parent, 40)
    before = fingerprint(parent.path), fingerprint(state)
    code, _ = refit(parent, state, entries, tmp_path / "child")
    told = capsys.readouterr()
    assert code == 0, told.err
    assert (fingerprint(parent.path), fingerprint(state)) == before
    child = open_bundle(tmp_path / "child")
    assert all(stage.passed for stage in selftest(child))
    assert judged(parent, state) + 0.1 < judged(child, state)
    assert child.manifest.training["parent"] == parent.sha256
    assert child.manifest.release == 1
    assert f"{LABEL}: 20 heard, 20 not; AP" in told.out
    assert f"parent    {parent.id}" in told.out
    ours, theirs = child.head, parent.head
    assert isinstance(ours, PrototypeHead)
    assert isinstance(theirs, PrototypeHead)
    assert isinstance(ours.linear, Int8Linear)
    assert isinstance(theirs.linear, Int8Linear)
    for name in ("weights", "scale", "bias"):  # nobody spoke of the other class
        assert np.array_equal(getattr(ours.linear, name)[1], getattr(theirs.linear, name)[1])
    assert child.threshold_on[1] == parent.threshold_on[1]
    assert parent.calibration is not None
    assert child.calibration is not None
    assert np.array_equal(child.calibration[1], parent.calibration[1])
    assert not np.array_equal(child.calibration[0], parent.calibration[0])
    assert read_replay(child) is not None


def test_a_child_can_learn_again_and_the_same_seed_gives_the_same(
    world: World, tmp_path: Path
) -> None:
    parent, state = world
    entries = reviewed(state, parent, 20)
    children = []
    for name in ("one", "two"):
        assert refit(parent, state, entries, tmp_path / name)[0] == 0
        children.append(open_bundle(tmp_path / name))
    files = [fingerprint(child.path) for child in children]
    for name in ("head.safetensors", "calibration.safetensors", "conformance.safetensors"):
        assert files[0][name] == files[1][name]
    later = recorded(tmp_path / "later", children[0], first=N_STREAMS)
    code, _ = refit(children[0], later, reviewed(later, children[0], 60), tmp_path / "three")
    assert code == 0
    assert open_bundle(tmp_path / "three").manifest.release == 2


def test_what_a_device_was_given_counts_as_the_bundle(world: World, copy: Path,
                                                      tmp_path: Path) -> None:  # fmt: skip
    parent, _ = world
    manifest = dataclasses.replace(parent.manifest, release=7).to_bytes()
    signed = hashlib.sha256(manifest).hexdigest()
    with closing(sqlite3.connect(copy / "detections.sqlite")) as db, db:
        db.execute("UPDATE bundle SET sha256 = ?", (signed,))
    entries = reviewed(copy, parent, 20, bundle_sha256=signed)
    assert refit(parent, copy, entries, tmp_path / "child")[0] == 0
    assert open_bundle(tmp_path / "child").manifest.release == 8


def spoil(change: str) -> Callable[[Path], None]:
    def spoiled(state: Path) -> None:
        with closing(sqlite3.connect(state / "detections.sqlite")) as db, db:
            db.execute(change)

    return spoiled


def cut(state: Path) -> None:
    path = state / "detections.sqlite"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 512 * 512])


def nothing(_: Path) -> None:
    pass


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


def each(**changes: Any) -> Change:
    return lambda entries: [one | changes for one in entries]


def and_also(**changes: Any) -> Change:
    return lambda entries: [*entries, entries[0] | changes]


BAD: dict[str, tuple[Callable[[Path], None], Change, str]] = {
    "another bundle": (nothing, each(bundle_sha256=OTHER_SHA256), "found one of another, ffffffff"),
    "another deployment": (nothing, each(deployment_id="heath"), "expected deployment 'heath'"),
    "another boot": (nothing, each(boot=9), "of boot 9 at 1000 Hz"),
    "another rate": (nothing, each(rate_hz=8000), "at 8000 Hz"),
    "no such class": (nothing, and_also(label="Wren"), "expected a class of the bundle, found 'Wr"),
    "nothing is sure": (nothing, each(verdict="unsure"), "nothing can be learned from 20"),
    "of one minute": (nothing, lambda found: [
        one | {"stream": 1, "start_sample": 32 * n, "end_sample": 32 * n + 32}
        for n, one in enumerate(found)], "can be held out"),
    "said twice": (nothing, lambda found: [
        *found, found[0] | {"label": OTHER, "verdict": "wrong"},
        found[0] | {"verdict": "other", "other_label": OTHER}], "to hold it elsewhere"),
    "an older recorder": (spoil("DROP TABLE chunk_scores"), each(), "nothing can be learned"),
    "no scores": (spoil("DELETE FROM chunk_scores"), each(), "nothing can be learned"),
    "half a row": (
        spoil("UPDATE chunk_scores SET scores = substr(scores, 1, 3)"), each(), "found 3 bytes"),
    "other steps": (spoil("UPDATE chunk_scores SET steps = 7"), each(), "found 6 bytes in 7"),
    "half a database": (cut, each(), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_and_leaves_nothing(
    case: str, world: World, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_state, change, told = BAD[case]
    entries = change(reviewed(copy, world[0], 20))
    break_state(copy)
    code, file = refit(world[0], copy, entries, tmp_path / "child")
    error = capsys.readouterr().err
    assert code == 1
    assert told in error, error
    assert error.count("error: ") == error.count("hint: ") == 1
    assert "Traceback" not in error
    assert {path.name for path in tmp_path.iterdir()} == {"state", file.name}


@pytest.mark.parametrize("kind", ["bundle", "folder", "file"])
def test_nothing_is_overwritten(
    kind: str, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent, state = world
    out = tmp_path / "child"
    if kind == "bundle":
        write_tiny_bundle(out)
    elif kind == "folder":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    else:
        out.write_text("mine")
    before = fingerprint(tmp_path)
    code, file = refit(parent, state, [], out)
    assert code == 1
    assert "there is a bundle already" in (told := capsys.readouterr().err) or "exists" in told
    file.unlink()
    assert fingerprint(tmp_path) == before


def test_a_mean_head_is_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mean = write_tiny_bundle(tmp_path / "mean", head=tiny_head("float", "mean"))
    entries = reviewed(world[1], world[0], 4, bundle_sha256=mean.sha256)
    assert refit(mean, world[1], entries, tmp_path / "child")[0] == 1
    assert "expected a head with prototypes, found mean-linear" in capsys.readouterr().err
    assert not (tmp_path / "child").exists()


@pytest.mark.parametrize("contrary", [False, True])
def test_labels_that_say_the_contrary_elsewhere_are_refused(
    contrary: bool, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is learned from one of two streams is true of the other, or the contrary of it."""
    parent, state = world
    entries = [
        said(one, parent, verdict="correct" if one.holds != (contrary and first) else "wrong")
        for one in windows(state)
        for first in [one.stream == 1]
        if one.stream <= 2
    ]
    code, _ = refit(parent, state, entries, tmp_path / "child")
    told = capsys.readouterr().err
    assert code == int(contrary), told
    assert ("mean average precision falls from" in told) is contrary
    assert (tmp_path / "child").exists() is not contrary


def test_a_bundle_without_a_replay_learns_carefully_and_warns(
    world: World, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parent = learned_bundle(tmp_path / "parent", replay=None)
    spoil(f"UPDATE bundle SET sha256 = '{parent.sha256}'")(copy)  # the same head
    assert refit(parent, copy, reviewed(copy, parent, 20), tmp_path / "child")[0] == 0
    assert "carries no scores of its training" in caplog.text
    child = open_bundle(tmp_path / "child")
    assert read_replay(child) is None
    assert judged(parent, world[1]) < judged(child, world[1])


def test_a_bundle_that_fires_on_noise_is_refused(world: World, copy: Path, tmp_path: Path) -> None:
    """Its noise looks like what people say is the class."""
    state = world[1]
    like = np.stack([one.scores for one in windows(state) if one.holds][:20])
    noise = to_int16(like, steps_of(world[0].head))  # type: ignore[arg-type]
    parent = learned_bundle(tmp_path / "parent", noise, threshold_on=[1.2, 5], threshold_off=[1, 5])
    spoil(f"UPDATE bundle SET sha256 = '{parent.sha256}'")(copy)  # the same head
    file = write_corrections(tmp_path / "c.json", reviewed(copy, parent, 40))
    candidate = learn(parent, copy, read_corrections([file]))
    louder = dataclasses.replace(
        candidate,
        calibration=dataclasses.replace(
            candidate.calibration, threshold_on=candidate.calibration.threshold_on - 1.5,
            threshold_off=candidate.calibration.threshold_off - 1.5),
    )  # fmt: skip
    with pytest.raises(NoiseGateError, match=r"fires more often: Parus major_Great Tit \d+\.\d"):
        refuse_if_worse(louder)


def test_noise_is_counted_as_a_recorder_would(world: World) -> None:
    """Two runs of ten chunks; a class that is always on is one detection in each."""
    parent, _ = world
    replay = read_replay(parent)
    head = parent.head
    assert replay is not None
    assert isinstance(head, PrototypeHead)
    always = np.full(2, -100.0)
    runs = noise_logits(parent, head, replay)
    assert noise_counts(parent, runs, Calibration(always, always, None)) == {0: 2, 1: 2}
    assert not noise_counts(parent, runs, Calibration(-always, -always, None))


def test_thresholds_rise_until_noise_is_as_quiet_as_it_was(world: World) -> None:
    parent, _ = world
    replay, head = read_replay(parent), parent.head
    assert replay is not None
    assert isinstance(head, PrototypeHead)
    was = Calibration(parent.threshold_on, parent.threshold_off, None)
    low = Calibration(np.array([-9.0, -9.0]), np.array([-9.5, -9.5]), None)
    only = np.array([0])
    raised = as_quiet_as(parent, replay, head, low, only)
    runs = noise_logits(parent, head, replay)
    allowed = noise_counts(parent, runs, was)[0]
    assert noise_counts(parent, runs, low)[0] > allowed
    assert noise_counts(parent, runs, raised)[0] <= allowed
    assert raised.threshold_on[1] == -9.0
    assert raised.threshold_on[0] - raised.threshold_off[0] == pytest.approx(0.5)
    assert raised.threshold_on[0] < parent.threshold_on[0] + 1e-9 or allowed == 0
    assert np.array_equal(as_quiet_as(parent, replay, head, was, only).threshold_on,
                          parent.threshold_on)  # fmt: skip


def candidate(world: World, ap: tuple[float | None, float | None], right: tuple[int, int]) -> Any:
    one = ClassResult(LABEL, 3, 3, *ap, *right)
    return Candidate(world[0], 1, world[0].head, None, [one], None, 6, 0.01, True)  # type: ignore[arg-type]


def test_classes_of_one_kind_are_judged_by_what_is_decided(world: World) -> None:
    with pytest.raises(WorseError, match="3 are decided rightly, 4 were"):
        refuse_if_worse(candidate(world, (None, None), (4, 3)))
    with pytest.raises(WorseError, match=r"falls from 50\.0 to 48\.3, by more than the 1\.6"):
        refuse_if_worse(candidate(world, (0.5, 0.483), (3, 6)))


@pytest.mark.parametrize("kind", ["int8", "int8-grouped", "int8-sparse", "float32"])
def test_rows_of_every_layer_are_exchanged_and_others_stay(kind: str) -> None:
    head = tiny_head(8, kind)
    assert isinstance(head, PrototypeHead)
    linear = head.linear
    assert isinstance(linear, Int8Linear | GroupedInt8Linear | SparseInt8Linear | FloatLinear)
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, (60, head.n_prototypes)).astype(np.float32)
    targets = np.full((60, 2), np.nan, np.float32)
    targets[:, 1] = scores[:, 1] > 0
    examples = Examples(scores, targets, [str(n) for n in range(60)], np.arange(60) >= 40)
    start = Rows.of(linear, np.array([1]))
    fitted = with_rows(linear, fit_rows(start, examples, np.arange(60)))
    assert type(fitted) is type(linear)
    assert np.array_equal(fitted.row(0), linear.row(0))
    assert fitted.bias[0] == linear.bias[0]
    assert not np.array_equal(fitted.row(1), linear.row(1))
    assert np.array_equal(fitted.row(1) != 0, linear.row(1) != 0)  # what it does not see stays 0
    told = Rows.of(fitted, np.array([1])).logits(scores)[:, 0]
    exact = np.array([fitted.logits(one)[1] for one in scores])
    assert np.allclose(told, exact, atol=1e-4)


def test_rows_move_less_where_no_training_clip_holds_them() -> None:
    head = tiny_head(8)
    assert isinstance(head, PrototypeHead)
    rng = np.random.default_rng(0)
    scores = rng.uniform(-1, 1, (40, head.n_prototypes)).astype(np.float32)
    targets = np.repeat((scores[:, :1] > 0).astype(np.float32), 2, axis=1)
    start = Rows.of(head.linear, np.array([0]))
    moved = []
    for n_replayed in (0, 1):
        examples = Examples(scores, targets, [""] * 40, np.arange(40) >= n_replayed)
        fitted = fit_rows(start, examples, np.arange(40))
        moved.append(np.abs(fitted.weights - start.weights).sum())
    assert moved[0] < 0.8 * moved[1]


def test_fitted_rows_expect_a_class_as_often_as_it_is_there() -> None:
    """Wherever scores lie: what is learned is learned of standardised ones."""
    head = tiny_head(8)
    assert isinstance(head, PrototypeHead)
    scores = np.random.default_rng(0).normal(0.7, 0.1, (400, 3)).astype(np.float32)
    targets = np.repeat((scores[:, :1] > 0.75).astype(np.float32), 2, axis=1)
    examples = Examples(scores, targets, [""] * 400, np.arange(400) >= 200)
    fitted = fit_rows(Rows.of(head.linear, np.array([1])), examples, np.arange(400))
    logits = fitted.logits(scores)[:, 0]
    assert expit(logits).mean() == pytest.approx(targets.mean(), abs=0.01)
    assert np.mean((logits > 0) == targets[:, 0]) > 0.95


def test_a_threshold_lies_between_what_is_right_and_what_is_taken_for_it(world: World) -> None:
    """The parent's says nothing of what it never knew: a sound that it takes for the class."""
    parent, _ = world
    logits = np.repeat([6.0, -6.0, 1.8, 1.0], 6)[:, None] + np.linspace(0, 0.1, 24)[:, None]
    targets = np.full((24, len(parent.labels)), np.nan, np.float32)
    targets[:, 0] = np.repeat([1, 0, 1, 0], 6)
    nothing = np.zeros((0, 1))
    found = operating_point(parent, np.array([0]), targets, logits, nothing)
    assert 1.1 < found.threshold_on[0] < 1.8
    assert found.threshold_off[0] < found.threshold_on[0]
    assert parent.calibration is not None
    assert found.slope_intercept is not None
    slope, intercept = found.slope_intercept[0]
    right, wrong = (expit(slope * logit + intercept) for logit in (1.9, 1.0))
    assert wrong < 0.5 < right
    assert np.array_equal(found.threshold_on[1:], parent.threshold_on[1:])
    assert np.array_equal(found.threshold_off[1:], parent.threshold_off[1:])
    assert np.array_equal(found.slope_intercept[1:], parent.calibration[1:])
    targets[14:18, 0] = targets[:6, 0] = np.nan  # two are left, and tell too little
    kept = operating_point(parent, np.array([0]), targets, logits, nothing)
    assert np.array_equal(kept.threshold_on, parent.threshold_on)
    assert np.array_equal(kept.threshold_off, parent.threshold_off)
    assert kept.slope_intercept is parent.calibration
