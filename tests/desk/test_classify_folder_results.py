"""What classify made of a folder, in the formats of other programs: files keep their folders."""

import csv
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from pyarrow import parquet
from support.lone_worker import alone, classified
from support.made_recordings import BAD, GOOD, RATE_HZ, recording, recordings

from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.survey.reader import Survey
from edge_probe.desk.survey.survey import Request, classify_folder
from edge_probe.source.files import AudioFile

LISTENED = (*GOOD, "bad/cut.wav", "bad/nan.wav", "bad/short.wav")
"""What could be opened."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("season") / "recordings")


@pytest.fixture(scope="module")
def out(folder: Path, analyser: ChunkAnalyser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "out"
    classified(Request(folder, out, analyser.bundle, utc_offset=timedelta(0), batch_bytes=300_000))
    return out


def exported(out: Path, name: str, target: Path) -> Path:
    assert main(["results", str(out), "--format", name, "--out", str(target)]) == 0
    return target


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_where_their_files_are(folder: Path, out: Path, tmp_path: Path) -> None:
    lines = exported(out, "jsonl", tmp_path / "all.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    assert {row["file"] for row in rows} >= set(GOOD)
    for row in rows:
        with AudioFile(folder / row["file"], 0) as audio:
            assert 0 <= row["start_sample"] < row["end_sample"] <= audio.n_samples
            assert row["rate_hz"] == audio.sample_rate_hz == RATE_HZ
        assert row["start_s"] == row["start_sample"] / RATE_HZ
        if (start := row["start_utc"]) is not None:
            begun = datetime.strptime(Path(row["file"]).stem, "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
            passed = (datetime.fromisoformat(start) - begun).total_seconds()
            assert passed == pytest.approx(row["start_s"], abs=2 / RATE_HZ)
    assert len({row["detection"] for row in rows}) == len(rows)
    places = [(row["stream"], row["start_sample"]) for row in rows]
    assert places == sorted(places)
    everything = parquet.read_table(exported(out, "parquet", tmp_path / "all.parquet"))
    assert everything["logit"].to_pylist() == [row["logit"] for row in rows]


def test_programs_that_open_audio_find_it(folder: Path, out: Path, tmp_path: Path) -> None:
    lines = exported(out, "jsonl", tmp_path / "all.jsonl").read_text(encoding="utf-8")
    n_rows = len(lines.splitlines())
    files = [Path(row["File"]) for row in table(exported(out, "birdnet", tmp_path / "b.csv"))]
    assert len(files) == n_rows
    assert all(path.is_relative_to(folder) and path.exists() for path in files)
    rows = table(exported(out, "kaleidoscope", tmp_path / "k.csv"))
    assert [Path(row["INDIR"], row["FOLDER"], row["IN FILE"]) for row in rows] == files
    raven = exported(out, "raven", tmp_path / "raven")
    listed = (raven / f"out_{RATE_HZ}hz_1ch.list.txt").read_text(encoding="utf-8").splitlines()
    assert set(listed) == {str(folder / name) for name in LISTENED}
    selections = (raven / f"out_{RATE_HZ}hz_1ch.selections.txt").read_text(encoding="utf-8")
    assert len(selections.splitlines()) == n_rows + 1
    with closing(sqlite3.connect(exported(out, "birds-db", tmp_path / "birds.db"))) as db:
        assert db.execute("SELECT count(*) FROM detections").fetchone() != (0,)


def test_audacity_tracks_keep_folders_and_twins(analyser: ChunkAnalyser, tmp_path: Path) -> None:
    for name in ("a/x.wav", "b/x.wav", "b/x.flac"):
        recording(tmp_path / "r" / name, 3000, 1)
    classified(Request(tmp_path / "r", tmp_path / "out", analyser.bundle))
    tracks = exported(tmp_path / "out", "audacity", tmp_path / "tracks") / "out"
    found = sorted(path.relative_to(tracks).as_posix() for path in tracks.rglob("*.txt"))
    assert found == ["a/x.txt", "b/x.txt", "b/x.wav.txt"]
    assert len({(tracks / name).read_text(encoding="utf-8") for name in found}) == 1


def test_effort_is_what_was_classified_hour_by_hour(
    analyser: ChunkAnalyser, tmp_path: Path
) -> None:
    recording(tmp_path / "r" / "20260501_045959.wav", 2500, 1)
    recording(tmp_path / "r" / "none.wav", 1500, 2)
    classified(Request(tmp_path / "r", tmp_path / "out", analyser.bundle, utc_offset=timedelta(0)))
    with Survey(tmp_path / "out") as survey:
        rows = list(survey.effort())
    assert [(row.start_utc, row.recorded_s, row.classified_s, row.skipped_s) for row in rows] == [
        (datetime(2026, 5, 1, 4, 59, 59, tzinfo=UTC), 1.0, 1.0, 0.0),
        (datetime(2026, 5, 1, 5, tzinfo=UTC), 1.5, 1.5, 0.0),
        (None, 1.5, 1.5, 0.0),
    ]


def test_effort_of_damaged_files_is_what_was_heard_of_them(out: Path) -> None:
    with Survey(out) as survey:
        names = {segment.stream: segment.name for segment in survey.segments()}
        rows = {names[row.stream]: row for row in survey.effort()}
    assert set(names.values()) == set(LISTENED)
    assert rows["bad/nan.wav"].classified_s == pytest.approx(0.9)
    assert rows["bad/nan.wav"].skipped_s == pytest.approx(0.6)
    assert all(row.skipped_s == 0 for name, row in rows.items() if name not in BAD)


def test_a_survey_that_is_not_complete_is_not_told(
    folder: Path, out: Path, analyser: ChunkAnalyser, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    looks = iter(range(3))
    request = Request(
        folder, tmp_path / "out", analyser.bundle, utc_offset=timedelta(0), batch_bytes=1
    )
    classify_folder(request, alone, StringIO(), lambda: next(looks, None) is None)
    assert main(["results", str(tmp_path / "out"), "--format", "jsonl"]) == 1
    assert "is not complete" in capsys.readouterr().err
