"""The search as a whole: where it looks, what it stops, what it chooses, and its file."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_world import write_clip, write_encoder
from support.tune_world import PLAN, bags, clip_tokens, search, subject

from edge_probe.errors import EdgeProbeError
from export.card import read_card
from export.cli import main
from export.clips import Clip, ClipSet, Split
from export.compare.run import load
from export.heads import HEADS
from export.heads.protobin import Protobin
from export.material import learnable_targets, targets_of
from export.tokens import ClipTokens, Encoded, TokenCache
from export.train import ONE_BIT, TRAINABLE, train_head
from export.tune.search import HeadSearch, Plan, tune
from export.tune.space import configuration, search_space, sobol_points
from export.tune.storage import StudyError, open_storage
from export.tune.subject import Subject
from export.tune.tuned import read_tuned, write_tuned

HEADS_TUNED = ("linear-mean", ONE_BIT)


@pytest.mark.parametrize("head", TRAINABLE)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_sobol_points_cover_every_range(head: str, seed: int) -> None:
    """Eight points: one in every eighth of every range, in the logarithm where that is searched."""
    space = search_space(head)
    points = sobol_points(space, 8, seed)
    for name, where in space.items():
        ends, values = np.array([where.low, where.high]), np.array([p[name] for p in points])
        if where.log:
            ends, values = np.log(ends), np.log(values)
        eighths = np.floor(8 * (values - ends[0]) / (ends[1] - ends[0]))
        assert sorted(eighths) == list(range(8)), name
    assert sobol_points(space, 5, seed) == points[:5]


def test_ranges_are_those_of_the_paper() -> None:
    rates = {head: search_space(head)["learning_rate"] for head in TRAINABLE}
    with_prototypes = {
        head for head, rate in rates.items() if (rate.low, rate.high) == (2e-3, 8e-2)
    }
    assert with_prototypes == {head for head in TRAINABLE if head.startswith("proto")}
    others = {(rates[head].low, rates[head].high) for head in set(TRAINABLE) - with_prototypes}
    assert others == {(1e-4, 7e-3)}
    decays = [search_space(head)["weight_decay"] for head in TRAINABLE]
    assert {(decay.low, decay.high, decay.log) for decay in decays} == {(1e-5, 5e-4, True)}


@pytest.mark.parametrize("head", TRAINABLE)
def test_every_head_can_be_configured_and_trained(head: str) -> None:
    epochs: list[int] = []
    (point,) = sobol_points(search_space(head), 1, 0)
    chosen = configuration(head, point, prototypes_per_class=2, epochs=3)
    trained = train_head(
        chosen, bags(24, 1), seed=0, validation=bags(12, 2),
        on_epoch=lambda epoch, score: epochs.append(epoch),
    )  # fmt: skip
    assert isinstance(trained, type(HEADS.get(head, HEADS["protobin"]).build(bags(3, 0).shape, 2)))
    assert chosen.recipe.learning_rate == point["learning_rate"]
    if isinstance(trained, Protobin):
        assert (trained.n_thresholds > 0) == (head == ONE_BIT)
        assert trained.dropout.p == point.get("dropout", 0.0)
    # To one bit: four epochs more; the first is not judged, for its tokens are no signs yet.
    assert epochs == ([1, 2, 3, 4, 5, 6, 7] if head == ONE_BIT else [1, 2, 3])


def outcome(searches: list[HeadSearch], folder: Path) -> bytes:
    write_tuned(folder / "tuned.json", {"encoder": "e" * 24}, searches)
    return (folder / "tuned.json").read_bytes()


def test_the_same_search_finds_the_same_however_often_it_is_interrupted(tmp_path: Path) -> None:
    heads = ("linear-mean", "linear")
    at_once = tune(open_storage(str(tmp_path / "a.journal")), heads, subject(), PLAN)
    for n_steps in (1, 3, 4):
        interrupted = search(tmp_path / "b.journal")
        assert all(interrupted.step() for _ in range(n_steps))
        assert not interrupted.is_complete
    in_pieces = tune(open_storage(str(tmp_path / "b.journal")), heads, subject(), PLAN)
    assert outcome(in_pieces, tmp_path) == outcome(at_once, tmp_path)
    n_created = (tmp_path / "b.journal").read_text().count('"op_code":4')
    again = tune(open_storage(str(tmp_path / "b.journal")), heads, subject(), PLAN)
    assert outcome(again, tmp_path) == outcome(at_once, tmp_path)
    assert (tmp_path / "b.journal").read_text().count('"op_code":4') == n_created == 20


def test_hopeless_trials_of_tpe_are_stopped_and_sobol_points_never(tmp_path: Path) -> None:
    plan = replace(PLAN, trials=16, epochs=8, top=3)
    found = search(tmp_path / "a.journal", plan=plan)
    while found.step():
        pass
    trials = found.trial_facts()
    assert [each["trial"] for each in trials] == list(range(16))
    assert [each["stage"] for each in trials] == ["sobol"] * 8 + ["tpe"] * 8
    pruned = [each for each in trials if each["state"] == "pruned"]
    assert len(pruned) >= 3
    assert {each["stage"] for each in pruned} == {"tpe"}
    assert {each["last_epoch"] for each in pruned} <= {1, 4}
    complete = [each for each in trials if each["state"] == "complete"]
    assert {each["last_epoch"] for each in complete} == {8}
    best = sorted(complete, key=lambda each: (-each["validation_map"], each["trial"]))[:3]
    candidates = found.candidates()
    assert {each.trial for each in candidates} == {each["trial"] for each in best}
    assert [len(each.scores) for each in candidates] == [2, 2, 2]
    assert candidates[0].mean == max(each.mean for each in candidates)
    assert candidates[0].sd == pytest.approx(np.std(candidates[0].scores, ddof=1))


def test_training_that_diverges_counts_as_nothing_found(tmp_path: Path) -> None:
    sound = subject()
    rng = np.random.default_rng(0)
    clips = [clip_tokens(label, rng) for label in (0, 1, None)]
    clips[0].tokens[:] = np.nan
    broken = type(sound.train)(clips, np.eye(3, 2, dtype=np.float32))
    storage = open_storage(str(tmp_path / "a.journal"))
    (found,) = tune(storage, ["linear-mean"], replace(sound, train=broken), PLAN)
    assert {each["validation_map"] for each in found.trial_facts()} == {0}
    assert found.candidates()[0].scores == (0, 0)


@pytest.mark.parametrize(
    ("other_subject", "other_plan", "named"),
    [
        (subject("other clips"), PLAN, "clips 'made up' instead of 'other clips'"),
        (subject(), replace(PLAN, trials=8), "trials 6 instead of 8"),
        (subject(), replace(PLAN, epochs=3), "epochs 2 instead of 3"),
        (subject(), replace(PLAN, prototypes_per_class=3), "prototypes_per_class 2 instead of 3"),
    ],
)
def test_a_study_does_not_change_its_subject(
    tmp_path: Path, other_subject: Subject, other_plan: Plan, named: str
) -> None:
    storage = open_storage(str(tmp_path / "a.journal"))
    HeadSearch(storage, "linear", subject(), PLAN)
    with pytest.raises(StudyError, match=named):
        HeadSearch(storage, "linear", other_subject, other_plan)
    HeadSearch(storage, "ep", other_subject, other_plan)


def test_tuned_heads_come_back_as_they_were_found(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a.journal"))
    searches = tune(storage, HEADS_TUNED, subject(), PLAN)
    outcome(searches, tmp_path)
    expected = {each.head: each.candidates()[0].configuration for each in searches}
    assert read_tuned(tmp_path / "tuned.json") == expected
    assert read_tuned(tmp_path / "tuned.json", "e" * 24) == expected
    with pytest.raises(EdgeProbeError, match=r"on the encoder e{24}, not on other"):
        read_tuned(tmp_path / "tuned.json", "other")
    assert expected[ONE_BIT].sign_recipe is not None
    sense = json.loads((tmp_path / "tuned.json").read_text())
    for keys, value in [
        (("format",), "edge-export tuned 2"),
        (("about",), {}),
        (("heads",), ["linear-mean"]),
        (("heads", "nonsense"), sense["heads"]["linear-mean"]),
        (("heads", ONE_BIT, "configuration", "options"), {}),
        (("heads", ONE_BIT, "configuration", "options", "dropout"), "much"),
        (("heads", ONE_BIT, "configuration", "recipe", "epochs"), 0),
        (("heads", ONE_BIT, "configuration", "recipe", "learning_rate"), float("nan")),
        (("heads", ONE_BIT, "configuration", "recipe", "speed"), 1.0),
        (("heads", ONE_BIT, "configuration", "recipe", "loss", "kind"), 3),
        (("heads", ONE_BIT, "configuration", "recipe", "loss", "kind"), "hinge"),
        (("heads", ONE_BIT, "configuration", "sign_recipe"), {}),
        (("heads", ONE_BIT, "configuration", "prototypes_per_class"), True),
    ]:
        spoilt: Any = json.loads(json.dumps(sense))
        place = spoilt
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (tmp_path / "spoilt.json").write_text(json.dumps(spoilt))
        with pytest.raises(EdgeProbeError, match="is not an outcome of edge-export tune"):
            read_tuned(tmp_path / "spoilt.json")


def test_reading_what_was_tuned_does_not_need_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("export", "optuna")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError):
        import_module("export.tune.search")
    import_module("export.tune.tuned")


class Unreadable(ClipTokens):
    """Tokens that nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a test clip was read")


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_test_clips_are_not_looked_at(tmp_path: Path, by_hand: bool) -> None:
    rng = np.random.default_rng(0)
    cache = TokenCache(tmp_path / "cache", write_encoder(tmp_path), workers=1)
    clips = [Clip(Path(f"{n}.wav"), ("a", "b")[n % 2 : n % 2 + 1], str(n)) for n in range(20)]
    if by_hand:
        clips = [replace(c, split="test") if n < 4 else c for n, c in enumerate(clips)]
    tokens = [clip_tokens(n % 2, rng) for n in range(20)]
    keys = [str(n) for n in range(20)]

    def gather(tokens: list[ClipTokens]) -> Subject:
        return Subject.of(ClipSet(tuple(clips), ("a", "b")), Encoded(clips, tokens, keys), cache)

    whole = gather(tokens)
    used = {id(clip) for part in (whole.train, whole.validation) for clip in part._clips}
    assert len(used) == 16
    hidden = [clip if id(clip) in used else Unreadable.__new__(Unreadable) for clip in tokens]
    gathered = gather(hidden)
    for part in (gathered.train, gathered.validation):
        assert sum(len(maps.tokens) for maps in part.in_order()) == len(part)
    if by_hand:
        assert not {id(clip) for clip in tokens[:4]} & used


@pytest.mark.parametrize(
    ("splits", "complaint"),
    [(("train", "test"), "no clip is for validation"), (("validation",) * 2, "for training")],
)
def test_a_split_that_leaves_nothing_is_refused(
    tmp_path: Path, splits: tuple[Split, Split], complaint: str
) -> None:
    cache = TokenCache(tmp_path / "cache", write_encoder(tmp_path), workers=1)
    clips = [Clip(Path(f"{n}.wav"), ("a",), str(n), split=splits[n % 2]) for n in range(4)]
    tokens = [clip_tokens(0, np.random.default_rng(n)) for n in range(4)]
    encoded = Encoded(clips, tokens, ["key"] * 4)
    with pytest.raises(StudyError, match=complaint):
        Subject.of(ClipSet(tuple(clips), ("a",)), encoded, cache)


def test_copies_of_one_clip_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", write_encoder(tmp_path), workers=1)
    clips = [Clip(Path(f"{n}.wav"), ("a", "b")[n % 2 : n % 2 + 1], str(n)) for n in range(9)]
    tokens = [clip_tokens(0, np.random.default_rng(n)) for n in range(9)]
    encoded = Encoded(clips, tokens, [*"01234567", "1"])
    with pytest.raises(EdgeProbeError, match=r"8.wav holds a, 1.wav does not, and both are the sa"):
        Subject.of(ClipSet(tuple(clips), ("a", "b")), encoded, cache)
    encoded.clips[8] = replace(clips[8], labels=(), absent=("a",))
    assert learnable_targets(encoded, ("a", "b")).shape == (9, 2)


def test_validation_without_a_class_to_tell_apart_is_refused() -> None:
    sound = subject()
    sound.validation.targets[:] = 1
    with pytest.raises(StudyError, match="24 validation clips do not hold any class that others"):
        Subject(sound.train, sound.validation, {})


def test_what_is_not_known_of_a_clip_is_not_held_against_a_head() -> None:
    clips = [
        Clip(Path("1"), ("a",), "1"),
        Clip(Path("2"), (), "2"),
        Clip(Path("3"), ("b",), "3", absent=("a",)),
        Clip(Path("4"), ("b",), "4", unknown=("c",)),
    ]
    targets = targets_of(clips, ("a", "b", "c"))
    meaning = {1.0: True, 0.0: False}
    for row, clip in zip(targets, clips, strict=True):
        assert [meaning.get(float(value)) for value in row] == [clip.holds(c) for c in "abc"]
    assert np.isnan(targets).sum() == 2


def test_no_seed_tunes_by_the_clips_that_a_comparison_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_encoder(tmp_path)
    for number in range(20):
        write_clip(tmp_path / "clips" / "ab"[number % 2] / f"rec{number}.wav", seed=number)
    asked: list[Subject] = []

    def stop(_storage: object, _heads: object, subject: Subject, _plan: object) -> None:
        asked.append(subject)
        raise StudyError("that is all")

    monkeypatch.setattr("export.tune.search.tune", stop)
    command = ["tune", "clips", "--encoder", "made_up.onnx", "--workers", "1", "--head", "linear"]
    for seed in ("0", "5"):
        assert main([*command, "--seed", seed]) == 1
    compared = load(Path("clips"), read_card(Path("made_up.onnx")), Path("token_cache"))
    for part in ("train", "validation"):
        expected = [getattr(compared, part), *(getattr(subject, part) for subject in asked)]
        assert len({torch.cat([m.tokens for m in b.in_order()]).numpy().tobytes()
                    for b in expected}) == 1  # fmt: skip


def test_the_command_from_clips_to_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_encoder(tmp_path)
    for number in range(30):
        kind = ("a", "b", "Background")[number % 3]
        write_clip(tmp_path / "clips" / kind / f"rec{number}.wav", seed=number)
    command = [
        "tune", "clips", "--encoder", "made_up.onnx", "--workers", "1", "--head", "linear",
        "protobin", "--trials", "4", "--epochs", "2", "--seeds", "2", "--top", "1",
    ]  # fmt: skip
    assert main(command) == 0
    first = capsys.readouterr().out
    assert [line.split()[0] for line in first.splitlines()[:2]] == ["linear", "protobin"]
    assert "± " in first
    tuned = read_tuned(tmp_path / "tuned.json")
    assert set(tuned) == {"linear", "protobin"}
    written = (tmp_path / "tuned.json").read_bytes()
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "tuned.json").read_bytes() == written
    write_clip(tmp_path / "clips" / "a" / "rec0.wav", seed=99)
    assert main(command) == 1
    assert "the study 'linear: trials' is about something else" in capsys.readouterr().err
    assert (tmp_path / "tuned.json").read_bytes() == written
    assert main([*command, "--out", "nowhere/tuned.json"]) == 1
    assert "nowhere: no such folder for --out" in capsys.readouterr().err
    assert main([*command, "--head", "linear", "liner"]) == 1
    assert "there is no head 'liner'\nhint: choose from linear, " in capsys.readouterr().err
