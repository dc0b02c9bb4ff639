"""``edge-probe validate``: the right figures of the right windows, and clear words otherwise."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.made_card import FieldRecorder
from support.made_corrections import OTHER_SHA256, entry, write_corrections

from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.validation import Review, threshold_for, validate

LABEL, OTHER = "Parus major_Great Tit", "background"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, analyser: ChunkAnalyser) -> Path:
    recorder = FieldRecorder(tmp_path_factory.mktemp("field") / "s", analyser, 1, "site-01")
    recorder.record(400)
    return recorder.state


def sampled(analyser: ChunkAnalyser, verdicts: str, draw: str = "random") -> list[dict[str, Any]]:
    """One window a letter, detected where it is a capital; logits fall from left to right."""
    names = {"c": "correct", "w": "wrong", "u": "unsure"}
    on = float(analyser.bundle.threshold_on[0])
    return [
        entry(
            bundle_sha256=analyser.bundle.sha256, start_sample=1000 * n,
            end_sample=1000 * n + 500, rate_hz=1000, verdict=names[letter.lower()], draw=draw,
            probability=0.5, logit=on + 1 - n / 100 if letter.isupper() else None,
        )
        for n, letter in enumerate(verdicts)
    ]  # fmt: skip


def run(state: Path, tmp_path: Path, entries: list[dict[str, Any]], *more: str) -> int:
    file = write_corrections(tmp_path / "c.json", entries)
    return main(["validate", str(state), str(file), *more])


def test_the_table_says_what_validation_does(
    state: Path, analyser: ChunkAnalyser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = sampled(analyser, "C" * 30 + "WWcwwwUu")
    shown_only = entry(bundle_sha256=analyser.bundle.sha256, draw="detection", probability=None)
    assert run(state, tmp_path, [*entries, shown_only], "--precision", "0.8") == 0
    told = capsys.readouterr()
    reviews = [
        Review(n, LABEL, one["verdict"], 0.5, -1e9 if one["logit"] is None else one["logit"])
        for n, one in enumerate(entries)
    ]
    on = float(analyser.bundle.threshold_on[0])
    (want,) = validate(reviews, {LABEL: on})
    line = next(line for line in told.out.splitlines() if line.startswith(LABEL))
    numbers = [float(word) for word in re.findall(r"-?\d+\.?\d*", line)]
    at = threshold_for(reviews, LABEL, 0.8)
    assert at is not None
    assert numbers == pytest.approx([36, 31, 2, on, *want.precision, *want.recall, at], abs=6e-4)
    assert f"{analyser.bundle.id}, random sample" in told.out
    assert "threshold for 0.8" in told.out
    assert f"not reviewed: {OTHER}" in told.err


def test_samples_are_told_apart(
    state: Path, analyser: ChunkAnalyser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stratified = [one | {"end_sample": one["start_sample"] + 32}
                  for one in sampled(analyser, "CCw", "stratified")]  # fmt: skip
    assert run(state, tmp_path, sampled(analyser, "Cw") + stratified) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if "sample" in line] == [
        f"{analyser.bundle.id}, random sample", f"{analyser.bundle.id}, stratified sample",
    ]  # fmt: skip
    assert "not shown" in out


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no sample": ({"draw": "detection", "probability": None}, "none of a window of the random"),
    "another bundle": ({"bundle_sha256": OTHER_SHA256}, "no bundle ffffffffffff listened in"),
    "another deployment": ({"deployment_id": "elsewhere"}, "found 'elsewhere'"),
    "another class": ({"label": "Wren"}, "found 'Wren'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told(
    case: str, state: Path, analyser: ChunkAnalyser, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    change, told = BAD[case]
    assert run(state, tmp_path, [one | change for one in sampled(analyser, "Cw")]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "hint: " in error


def test_windows_of_two_lengths_are_refused(
    state: Path, analyser: ChunkAnalyser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = sampled(analyser, "Cw")
    entries[1]["end_sample"] += 500
    assert run(state, tmp_path, entries) == 1
    assert "entry 2: expected windows of 0.5 s" in capsys.readouterr().err


def test_no_archive(tmp_path: Path, analyser: ChunkAnalyser,
                    capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert run(tmp_path / "none", tmp_path, sampled(analyser, "Cw")) == 1
    assert "no such folder" in capsys.readouterr().err
