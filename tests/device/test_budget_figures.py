"""Figures say where they come from; sheets survive JSON, and nothing else passes for one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_probe.budget.figure import ROWS, Figure, Sheet, lines, read_sheet
from edge_probe.budget.writes import day_of, full_after, pcm_bytes, written
from edge_probe.disk.plan import Span
from edge_probe.errors import EdgeProbeError


def sheet() -> Sheet:
    figures = [
        Figure("chunk_one_core", 0.5, 2.0, "extrapolated", "work"),
        Figure("flash_bundle", 12.25, 12.25, "computed", "files"),
    ]
    return Sheet.of("estimate", "tiny@0123", "pi-5", figures, ["a note"])


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_a_sheet_is_the_same_after_json(tmp_path: Path) -> None:
    assert read_sheet(write(tmp_path / "a.json", sheet().to_json()), "estimate") == sheet()


def test_rows_stand_in_one_order_with_unit_and_tag() -> None:
    assert list(sheet().figures) == ["flash_bundle", "chunk_one_core"]
    title, flash, chunk, note = lines(sheet())
    assert title == "estimate of tiny@0123 on pi-5"
    assert flash.split() == ["flash_bundle", "12.2", "MiB", "computed;", "files"]
    assert chunk.split() == ["chunk_one_core", "0.5..2", "s", "extrapolated;", "work"]
    assert note == "a note"


@pytest.mark.parametrize(
    ("key", "value"),
    [("low", -1.0), ("low", 3.0), ("high", float("inf")), ("low", float("nan")),
     ("tag", "guessed"), ("name", "speed")],
)  # fmt: skip
def test_a_figure_that_cannot_be_meant_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|no such"):
        replace(sheet().figures["chunk_one_core"], **{key: value})


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("bundle"),
        lambda value: value["figures"][0].pop("tag"),
        lambda value: value["figures"][0].update(unit="kB"),
        lambda value: value["figures"][0].update(low="1"),
        lambda value: value.update(figures=3),
        lambda value: value.update(kind="measured"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, change: Any) -> None:
    value = sheet().to_json()
    change(value)
    with pytest.raises(EdgeProbeError, match=r"a\.json: expected figures") as caught:
        read_sheet(write(tmp_path / "a.json", value), "estimate")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "no JSON"])
def test_what_is_no_sheet_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(EdgeProbeError, match="expected figures as JSON"):
        read_sheet(path, "estimate")


def test_a_day_of_writing() -> None:
    """48 kHz, 16 bits: 8.29 GB of PCM; what FLAC makes of it is written, too."""
    day = day_of(48_000, 100e9)
    figure = written(Span(1.0, 1.1), 48_000, day, "computed", "ext4")
    assert pcm_bytes(48_000) == 8_294_400_000
    assert figure.low == pytest.approx(8.2944 * 1.28, rel=1e-4)
    assert figure.high == pytest.approx(8.2944 * 2.1, rel=1e-4)
    assert figure.unit == ROWS["written_a_day"] == "GB"
    full = full_after(day)
    assert full.low == pytest.approx(100 / 8.31, rel=0.01)
    assert full.low < full.high < full.low / 0.27


def test_a_card_without_room_is_full_at_once() -> None:
    assert full_after(day_of(48_000, -5e9)).high == 0
