"""Corrections files: what is right is read as it stands, all else is told by file and entry."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.made_corrections import OTHER_SHA256, SHA256, entry, write_corrections

from edge_probe.desk.corrections import (
    CorrectionsError,
    read_corrections,
    refuse_other_bundles,
)


def test_an_entry_is_read_as_it_stands(tmp_path: Path) -> None:
    file = write_corrections(tmp_path / "a.json", [entry(verdict="other", other_label="wind")])
    (one,) = read_corrections([file])
    said = {name: getattr(one, name) for name in entry()}
    at = datetime(2026, 11, 30, 10, 1, tzinfo=UTC)
    assert said == entry(verdict="other", other_label="wind", reviewed_utc=at)


def test_a_byte_order_mark_and_milliseconds_are_taken(tmp_path: Path) -> None:
    file = write_corrections(tmp_path / "a.json", [entry(reviewed_utc="2026-11-30T10:01:00.250Z")])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_corrections([file])[0].reviewed_utc.microsecond == 250_000


def test_the_last_entry_of_an_item_counts_whatever_it_was_shown_for(tmp_path: Path) -> None:
    file = write_corrections(tmp_path / "a.json", [
        entry(verdict="wrong"),
        entry(verdict="unsure", draw="detection", probability=None),
        entry(verdict="other", other_label="wind"),
        entry(label="wind", verdict="correct"),
    ])  # fmt: skip
    found = [(one.label, one.draw, one.probability, one.verdict, one.other_label)
             for one in read_corrections([file])]  # fmt: skip
    assert found == [
        ("Parus major_Great Tit", "stratified", 0.25, "other", "wind"),
        ("Parus major_Great Tit", "detection", None, "other", "wind"),
        ("wind", "stratified", 0.25, "correct", None),
    ]


def test_files_that_agree_are_joined(tmp_path: Path) -> None:
    a = write_corrections(tmp_path / "a.json", [entry(), entry(start_sample=0)])
    b = write_corrections(tmp_path / "b.json", [entry(), entry(start_sample=1)])
    assert [one.start_sample for one in read_corrections([a, b])] == [48000, 0, 1]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_unsure_yields_to_whoever_is_sure(tmp_path: Path, order: tuple[str, str]) -> None:
    write_corrections(tmp_path / "a", [entry(verdict="unsure")])
    write_corrections(tmp_path / "b", [entry(verdict="wrong", draw="detection", probability=None)])
    found = read_corrections([tmp_path / name for name in order])
    assert {one.draw: one.verdict for one in found} == {"stratified": "wrong", "detection": "wrong"}


@pytest.mark.parametrize("other", [
    {"verdict": "wrong"},
    {"verdict": "wrong", "draw": "detection", "probability": None},
    {"verdict": "other", "other_label": "wind"},
])  # fmt: skip
def test_files_that_contradict_are_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    a = write_corrections(tmp_path / "a.json", [entry(start_sample=7), entry()])
    b = write_corrections(tmp_path / "b.json", [entry(**other)])
    with pytest.raises(CorrectionsError) as caught:
        read_corrections([a, b])
    for part in (f"{a}: entry 2", f"{b}: entry 1", "Great Tit", "48000 to 96000", "correct"):
        assert part in caught.value.message


WRONG = [
    *({key: None} for key in entry() if key not in ("other_label", "logit")),
    {"deployment_id": "a/b"}, {"bundle_sha256": SHA256[1:]}, {"bundle_sha256": SHA256.upper()},
    {"boot": 0}, {"boot": True}, {"stream": 1.0}, {"channel": -1}, {"start_sample": -1},
    {"start_sample": 96000}, {"end_sample": 10**30}, {"rate_hz": 0}, {"label": ""},
    {"label": " wind"}, {"label": "x" * 201}, {"label": "a\nb"}, {"verdict": "yes"},
    {"verdict": "other"}, {"other_label": "wind"}, {"verdict": "other", "other_label": "_"},
    {"verdict": "other", "other_label": "Parus major_Great Tit"}, {"logit": "1"}, {"logit": True},
    {"logit": 10**400}, {"draw": "best"}, {"draw": "detection"}, {"probability": 0},
    {"probability": 1.5}, {"reviewed_utc": "yesterday"}, {"reviewed_utc": "2026-11-30T10:01:00"},
    {"reviewed_utc": "2026-11-30T10:01:00+01:00"}, {"extra": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_what_cannot_be_is_told_by_file_and_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write_corrections(tmp_path / "a.json", [entry(), entry(**change)])
    with pytest.raises(CorrectionsError, match=r"a\.json: entry 2") as caught:
        read_corrections([file])
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("key", [*entry()])
def test_a_key_that_is_missing_is_named(tmp_path: Path, key: str) -> None:
    less = entry()
    del less[key]
    file = write_corrections(tmp_path / "a.json", [less])
    with pytest.raises(CorrectionsError, match=f"entry 1: {key} is missing"):
        read_corrections([file])


@pytest.mark.parametrize("change", [
    {"format": "edge-probe bundle"}, {"version": 2}, {"version": True}, {"made_utc": ""},
    {"reviewer": None}, {"corrections": {}}, {"more": 1},
], ids=str)  # fmt: skip
def test_another_file_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write_corrections(tmp_path / "a.json", [entry()], **change)
    with pytest.raises(CorrectionsError, match=r"a\.json: "):
        read_corrections([file])


@pytest.mark.parametrize("data", [
    b"", b"[", b"\xff\xfe", b"[" * 100_000, b'{"format": 1, "format": 1}', b"NaN", b"null", b"[]",
    b"9" * 5000,
], ids=lambda data: repr(data[:20]))  # fmt: skip
def test_what_is_no_such_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(CorrectionsError, match=r"a\.json: "):
        read_corrections([tmp_path / "a.json"])


@given(st.binary(max_size=200))
def test_no_bytes_give_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_bytes(data)
    with pytest.raises(CorrectionsError):
        read_corrections([file])


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorrectionsError, match=r"none\.json: cannot be read"):
        read_corrections([tmp_path / "none.json"])


def test_another_bundle_is_named(tmp_path: Path) -> None:
    entries = [entry(), entry(start_sample=0, bundle_sha256=OTHER_SHA256)]
    found = read_corrections([write_corrections(tmp_path / "a.json", entries)])
    refuse_other_bundles(found[:1], {SHA256})
    refuse_other_bundles(found, {SHA256, OTHER_SHA256})
    with pytest.raises(CorrectionsError, match=r"entry 2: expected .* of another, ffffffffffff"):
        refuse_other_bundles(found, {SHA256})
