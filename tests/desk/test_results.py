"""Every format says the same, to readers that we did not write."""

import gc
import json
import os
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_archive import COMPLETE, RATE, MadeDeployment, usual
from support.made_card import FieldRecorder, card_analyser, fingerprint

from edge_probe.bundle.labels import Label
from edge_probe.capture.segment import Format
from edge_probe.cli import main
from edge_probe.desk.archive import open_archive
from edge_probe.desk.results import FORMATS, write_results
from edge_probe.desk.results.selection import Selection
from edge_probe.errors import EdgeProbeError

WITH_AUDIO = ["Great Tit", "Great Tit", "Ørret, åé", "rain", "Great Tit"]
"""Common names of `usual`, in the order of time."""
ALL = [*WITH_AUDIO[:3], "Tawny Owl", *WITH_AUDIO[3:]]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    usual(tmp_path / "archive").close()
    return tmp_path / "archive"


def export(archive: Path, name: str, target: Path, bundle: str | None = None) -> Selection:
    selection = Selection(open_archive(archive), bundle)
    write_results(name, selection, target)
    return selection


def table(path: Path, delimiter: str = ",", quotes: str | bool = '"') -> list[dict[str, Any]]:
    """As Arrow reads a CSV file, everything as text."""
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, quote_char=quotes)
    header = path.read_text(encoding="utf-8").splitlines()[0].split(delimiter)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
    )
    read = pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)
    found: list[dict[str, Any]] = read.to_pylist()
    return found


def test_birdnet(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    selection = export(archive, "birdnet", out)
    header, first, *_ = out.read_text(encoding="utf-8").split("\n")
    assert header == "Start (s),End (s),Scientific name,Common name,Confidence,File"
    assert first.startswith("0.2500,1.1250,Parus major,Great Tit,0.9500,")
    rows = table(out)
    assert [row["Common name"] for row in rows] == ALL
    assert rows[2]["Scientific name"] == 'Turdus "x", y'
    assert (rows[1]["Start (s)"], rows[1]["End (s)"]) == ("1.5000", "2.0000")  # its file ends
    for row in rows:
        if row["Common name"] != "Tawny Owl":  # its file was deleted
            assert float(row["End (s)"]) <= sf.info(row["File"]).duration
    assert selection.left_out.total() == 2  # suppressed, private


def test_kaleidoscope_finds_its_files(archive: Path, tmp_path: Path) -> None:
    export(archive, "kaleidoscope", tmp_path / "out.csv")
    rows = table(tmp_path / "out.csv")
    assert list(rows[0]) == [
        "INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "scientific_name", "common_name",
        "confidence", "lat", "lon", "week", "overlap", "sensitivity",
    ]  # fmt: skip
    assert [row["common_name"] for row in rows] == WITH_AUDIO
    for row in rows:
        duration = sf.info(Path(row["INDIR"], row["FOLDER"], row["IN FILE"])).duration
        assert 0 <= float(row["OFFSET"]) < float(row["OFFSET"]) + float(row["DURATION"]) <= duration
        assert (float(row["lat"]), float(row["lon"])) == (47.5, 8.25)


def test_jsonl_and_parquet_tell_everything(archive: Path, tmp_path: Path) -> None:
    export(archive, "jsonl", tmp_path / "out.jsonl")
    selection = export(archive, "parquet", tmp_path / "out.parquet")
    assert list(selection.left_out) == ["are of private classes"]
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    read = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    rows = read.to_pylist()
    for line, row in zip(map(json.loads, lines), rows, strict=True):
        for name in ("start_utc", "end_utc"):
            line[name] = datetime.fromisoformat(line[name])
        assert line == row
    assert {"bundle", "bundle_sha256"} <= set(read.column_names)
    assert read.schema.field("start_utc").type == pa.timestamp("us", tz="UTC")
    assert [row["suppressed"] for row in rows].count(True) == 1
    owl = rows[3]
    assert (owl["has_audio"], owl["start_s"], owl["end_s"]) == (False, 0.25, 1.0)
    assert owl["start_utc"] == datetime(2026, 5, 1, 0, 0, 7, 750_000, UTC)
    assert rows[1]["end_s"] == 2.25  # in the next file
    assert (rows[2]["low_hz"], rows[2]["high_hz"]) == (None, None)


def test_birds_db_answers_what_dashboards_of_birdnet_pi_ask(archive: Path, tmp_path: Path) -> None:
    export(archive, "birds-db", tmp_path / "birds.db")
    with closing(sqlite3.connect(tmp_path / "birds.db")) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(detections)")]
        by_name = db.execute(
            "SELECT Com_Name, COUNT(*), MAX(Confidence) FROM detections WHERE Date = '2026-05-01'"
            " GROUP BY Sci_Name ORDER BY COUNT(*) DESC, Com_Name"
        ).fetchall()
        first = db.execute("SELECT * FROM detections ORDER BY Date, Time LIMIT 1").fetchone()
        bundles = db.execute("SELECT DISTINCT bundle FROM detection").fetchall()
    assert columns == [
        "Date", "Time", "Sci_Name", "Com_Name", "Confidence", "Lat", "Lon", "Cutoff", "Week",
        "Sens", "Overlap", "File_Name",
    ]  # fmt: skip
    assert by_name == [
        ("Great Tit", 2, 0.95), ("Tawny Owl", 1, 0.9), ("rain", 1, 0.7), ("Ørret, åé", 1, 0.9),
    ]  # fmt: skip
    assert first[:2] == ("2026-05-01", "01:00:00")  # of the deployment, UTC+01:00
    assert (first[8], first[11]) == (18, "00001-000001-000000000000_unset.wav")
    assert bundles == [("birds-1",)]


def labels(text: str) -> list[tuple[float, float, str, tuple[float, float] | None]]:
    r"""The Audacity manual: start, end, label; ``\``, low, high of the label before it."""
    found: list[tuple[float, float, str, tuple[float, float] | None]] = []
    for line in text.split("\n")[:-1]:
        one, two, three = line.split("\t")
        if one == "\\":
            found[-1] = (*found[-1][:3], (float(two), float(three)))
        else:
            found.append((float(one), float(two), three, None))
    return found


def test_audacity(archive: Path, tmp_path: Path) -> None:
    export(archive, "audacity", tmp_path / "out")
    tracks = sorted((tmp_path / "out" / "wood-1").iterdir())
    found = [label for track in tracks for label in labels(track.read_text(encoding="utf-8"))]
    assert [Label.parse(label).common_name for _, _, label, _ in found] == WITH_AUDIO
    assert [band for *_, band in found] == [(1000, 3000), (1000, 3000), None, *[(1000, 3000)] * 2]
    for track in tracks:
        audio = [archive / "wood-1" / "audio" / f"{track.stem}{end}" for end in (".wav", ".flac")]
        (path,) = [one for one in audio if one.exists()]
        for _, end, *_ in labels(track.read_text(encoding="utf-8")):
            assert end <= sf.info(path).duration


def beeps(n_frames: int, *spans: tuple[int, int]) -> np.ndarray:
    """Loud between some frames, quiet elsewhere."""
    data = np.zeros((n_frames, 1), np.int16)
    for begin, end in spans:
        data[begin:end:2], data[begin + 1 : end : 2] = 9000, -9000
    return data


def raven(path: Path) -> list[dict[str, str]]:
    """The Raven manual: a line of names, a line for each selection, tabs between; no quotes."""
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[:-1])
    return [dict(zip(header, row, strict=True)) for row in rows]


def opened(listed: Path) -> tuple[np.ndarray, list[str]]:
    """The sound of a list of files, as Raven opens it, and the files."""
    files = listed.read_text(encoding="utf-8").splitlines()
    return np.concatenate([sf.read(one, dtype="int16", always_2d=True)[0] for one in files]), files


def test_a_raven_table_selects_what_was_heard(tmp_path: Path) -> None:
    """Loud exactly where the selections are, over borders, gaps, deleted and cut files."""
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start()
    made.record(data=beeps(RATE, (1000, 2000)))
    made.detect("Parus major_Great Tit", 1000 / RATE, 2000 / RATE)
    made.record(data=beeps(RATE))  # nothing heard
    made.record(data=beeps(RATE, (6000, RATE)))
    made.record(data=beeps(RATE, (0, 1500)), flac=True)
    made.detect("Parus major_Great Tit", 2 + 6000 / RATE, 3 + 1500 / RATE)  # over a border
    made.record(kept=False)
    made.detect("Parus major_Great Tit", 4.2, 4.4)  # deleted
    cut = made.record(data=beeps(RATE, (100, 700)))
    made.detect("Parus major_Great Tit", 5 + 100 / RATE, 5 + 700 / RATE)
    made.detect("Parus major_Great Tit", 5.5, 5.6)  # behind the end of what is left
    cut.write_bytes(cut.read_bytes()[: 44 + 2 * 2000])
    made.lose(0.5)
    made.record(data=beeps(RATE, (7000, RATE)))
    made.detect(
        "Parus major_Great Tit", 6.5 + 7000 / RATE, 7.5 + 600 / RATE
    )  # the next one is gone
    made.record(kept=False)
    made.record(data=beeps(RATE, (0, 99)))
    made.detect("Parus major_Great Tit", 8.5, 8.5 + 99 / RATE)
    made.close()
    selection = export(tmp_path / "archive", "raven", tmp_path / "out")
    assert selection.left_out == {"begin in a file that is not there": 2}
    sound, files = opened(tmp_path / "out" / "fen_8000hz_1ch.list.txt")
    rows = raven(tmp_path / "out" / "fen_8000hz_1ch.selections.txt")
    assert list(rows[0]) == [
        "Selection", "Begin Time (s)", "End Time (s)", "Common Name", "Scientific Name",
        "Species Code", "Confidence", "View", "Channel", "File Offset (s)", "Low Freq (Hz)",
        "High Freq (Hz)", "Begin Path",
    ]  # fmt: skip
    selected = np.zeros(len(sound), bool)
    starts = dict(zip(files, np.cumsum([0, *(sf.info(one).frames for one in files)]), strict=False))
    for number, row in enumerate(rows, 1):
        begin, end = (round(float(row[f"{x} Time (s)"]) * RATE) for x in ("Begin", "End"))
        selected[begin:end] = True
        offset = round(float(row["File Offset (s)"]) * RATE)
        assert starts[row["Begin Path"]] + offset == begin
        assert (row["Selection"], row["View"], row["Channel"]) == (
            str(number),
            "Spectrogram 1",
            "1",
        )
    assert np.flatnonzero(selected ^ (sound[:, 0] != 0)).tolist() == []


def test_raven_counts_channels_from_one_and_separates_sounds_of_other_kinds(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "archive", "fen")
    made.start(format_=Format(RATE, 2, 2))
    made.record()
    made.detect("a_b", 0.1, 0.2, channel=1, band=(None, None))
    made.start(format_=Format(2 * RATE, 1, 2))
    made.record()
    made.detect("a_b", 0.3, 0.4, band=(None, None))
    made.close()
    export(tmp_path / "archive", "raven", tmp_path / "out")
    (stereo,) = raven(tmp_path / "out" / "fen_8000hz_2ch.selections.txt")
    (other,) = raven(tmp_path / "out" / "fen_16000hz_1ch.selections.txt")
    assert (stereo["Channel"], stereo["Low Freq (Hz)"], stereo["High Freq (Hz)"]) == (
        "2", "0.000", "4000.000",
    )  # fmt: skip
    assert other["Begin Time (s)"] == "0.300000"  # counted in its own list
    for kind in ("8000hz_2ch", "16000hz_1ch"):
        opened(tmp_path / "out" / f"fen_{kind}.list.txt")


LABEL = (
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1)
    .map(str.strip)
    .filter(lambda text: Label.parse(text).is_clean)
)


@st.composite
def detections(draw: st.DrawFn) -> list[tuple[str, int, int, float]]:
    """Labels, first and last sample within a second, scores."""
    found = []
    for label in draw(st.lists(LABEL, min_size=1, max_size=12)):
        first = draw(st.integers(0, RATE - 2))
        last = draw(st.integers(first + 1, RATE))
        found.append((label, first, last, draw(st.floats(0, 1))))
    return sorted(found, key=lambda one: (one[1], one[0]))


@settings(max_examples=15)
@given(found=detections())
def test_any_label_comes_back_from_any_format(
    tmp_path_factory: pytest.TempPathFactory, found: Sequence[tuple[str, int, int, float]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    made = MadeDeployment(folder / "archive", "any")
    made.start()
    path = made.record()
    for label, first, last, score in found:
        made.detect(label, first / RATE, last / RATE, score=score)
    made.close()
    for name in FORMATS:
        export(folder / "archive", name, folder / name)
    names = [Label.parse(label) for label, *_ in found]
    parts = [(one.scientific_name, one.common_name) for one in names]

    rows = table(folder / "birdnet")
    assert [(row["Scientific name"], row["Common name"]) for row in rows] == parts
    for row, (_, first, last, score) in zip(rows, found, strict=True):
        assert 0 <= first / RATE - float(row["Start (s)"]) < 1e-4 + 1e-9
        assert 0 <= last / RATE - float(row["End (s)"]) < 1e-4 + 1e-9
        assert float(row["Confidence"]) == pytest.approx(score, abs=1e-4)
    rows = table(folder / "kaleidoscope")
    assert [(row["scientific_name"], row["common_name"]) for row in rows] == parts
    rows = raven(folder / "raven" / "any_8000hz_1ch.selections.txt")
    assert [(row["Scientific Name"], row["Common Name"]) for row in rows] == parts
    track = folder / "audacity" / "any" / f"{path.stem}.txt"
    assert [label for _, _, label, _ in labels(track.read_text(encoding="utf-8"))] == [
        label for label, *_ in found
    ]
    lines = (folder / "jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    whole = [(one["label"], one["start_sample"], one["end_sample"], one["score"])
             for one in map(json.loads, lines)]  # fmt: skip
    assert whole == list(found)
    columns = ["label", "start_sample", "end_sample", "score"]
    read = pyarrow.parquet.read_table(folder / "parquet", columns=columns).to_pylist()
    assert [tuple(row.values()) for row in read] == list(found)
    with closing(sqlite3.connect(folder / "birds-db")) as db:
        rows_ = db.execute("SELECT Sci_Name, Com_Name FROM detections ORDER BY rowid")
        assert sorted(rows_) == sorted(parts)


def two_bundles(folder: Path) -> Path:
    for id_, bundle in (("a", "birds-1"), ("b", "birds-2")):
        made = MadeDeployment(folder / "archive", id_)
        made.start()
        made.record()
        made.detect("Parus major_Great Tit", 0.1, 0.2, bundle=bundle)
        made.close()
    return folder / "archive"


@pytest.mark.parametrize("name", FORMATS)
def test_bundles_are_never_mixed_without_a_column(name: str, tmp_path: Path) -> None:
    archive, out = two_bundles(tmp_path), tmp_path / "out"
    if name in ("jsonl", "parquet"):
        export(archive, name, out)
        assert b"birds-1" in out.read_bytes()
        assert b"birds-2" in out.read_bytes()
        return
    with pytest.raises(EdgeProbeError, match=r"birds-1 \(.{8}\), birds-2") as caught:
        export(archive, name, out)
    assert "--bundle" in (caught.value.hint or "")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["archive"]
    shas = {row.bundle: row.bundle_sha256 for row in open_archive(archive).detections()}
    for number, chosen in enumerate(["birds-2", shas["birds-2"][:8].upper()]):
        selection = export(archive, name, tmp_path / str(number), chosen)
        assert not selection.left_out
        assert told(tmp_path / str(number)) == 1


def told(output: Path) -> int:
    """Detections of a text, database or folder, each of the class Great Tit."""
    if output.is_dir():
        files = [one for one in output.rglob("*") if one.is_file()]
        lines = (line for one in files if one.suffix in (".csv", ".txt")
                 for line in one.read_text(encoding="utf-8").splitlines())  # fmt: skip
        return sum("Great Tit" in line for line in lines)
    if output.read_bytes()[:6] == b"SQLite":
        with closing(sqlite3.connect(output)) as db:
            (count,) = db.execute("SELECT count(*) FROM detections").fetchone()
            return int(count)
    return output.read_text(encoding="utf-8").count("Great Tit")


def test_a_bundle_that_is_not_there_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match=r"--bundle bats: .* found birds-1"):
        export(archive, "birdnet", tmp_path / "out", "bats")


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_that_is_not_there_is_not_made(name: str, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="nowhere: no such folder"):
        export(archive, name, tmp_path / "nowhere" / "out")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_what_exists_is_not_touched(name: str, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    arguments = ["results", str(archive), "--format", name, "--out", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mine"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["archive", "out"]


def test_texts_go_to_stdout_and_what_is_left_out_to_stderr(
    archive: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["results", str(archive), "--format", "birdnet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(ALL)
    assert "left out: 1 detections are suppressed by the species list" in caplog.text
    assert "left out: 1 detections are of private classes" in caplog.text
    assert main(["results", str(archive), "--format", "raven"]) == 1
    assert "say where it goes with --out" in capsys.readouterr().err


def test_nothing_is_printed_of_what_fails_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["results", str(two_bundles(tmp_path)), "--format", "birdnet"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "choose one with --bundle" in err


def test_a_card_from_the_field_is_exported_and_stays_as_it_was(tmp_path: Path) -> None:
    """What recorder and classifier wrote themselves, with the log that a power cut leaves."""
    recorder = FieldRecorder(tmp_path / "state", card_analyser(tmp_path / "bundle"), 1, "wood")
    (recorder.state / "deployment.toml").write_text(f'deployment_id = "wood"\n{COMPLETE}')
    recorder.record()
    recorder.reboot()
    recorder.record()
    card = recorder.pull(tmp_path / "card")
    before = untouched(card)
    for name in FORMATS:
        selection = export(card, name, tmp_path / name)
        assert not selection.left_out
    assert untouched(card) == before
    wanted = [row.label for row in open_archive(card).detections()]
    assert len(wanted) > 20
    assert pyarrow.parquet.read_table(tmp_path / "parquet")["label"].to_pylist() == wanted
    assert len(table(tmp_path / "birdnet")) == len(wanted)
    (selections,) = (tmp_path / "raven").glob("*.selections.txt")
    assert len(raven(selections)) == len(wanted)
    assert len(table(tmp_path / "camtrap-dp" / "observations.csv")) == len(wanted)


def untouched(folder: Path) -> dict[str, tuple]:
    """All but the times of reading."""
    return {name: one[:4] for name, one in fingerprint(folder).items()}


def test_an_archive_without_detections_gives_headers_only(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "archive", "silent")
    made.start()
    made.record()
    made.close()
    for name in FORMATS:
        export(tmp_path / "archive", name, tmp_path / name)
    assert (tmp_path / "birdnet").read_text().count("\n") == 1
    assert pyarrow.parquet.read_table(tmp_path / "parquet").num_rows == 0


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_told_and_leaves_nothing(
    name: str, archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor does anything go wrong behind it, when what was open is closed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        arguments = ["results", str(archive), "--format", name, "--out", str(disk / "out")]
        assert main(arguments) == 1
        gc.collect()
        assert [one.name for one in disk.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", disk], check=True)
    error = capfd.readouterr().err.splitlines()
    assert len(error) == 2
    if name == "birds-db":
        assert error[0] == "error: the database cannot be written: database or disk is full"
    else:
        assert error[0] == f"error: {disk / 'out'}: No space left on device"


@pytest.mark.parametrize("name", FORMATS)
def test_a_path_that_no_text_can_hold_is_told(
    name: str, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = archive.rename(tmp_path / os.fsdecode(b"V\xf6gel"))
    code = main(["results", str(place), "--format", name, "-o", str(tmp_path / "out")])
    if name in ("birdnet", "kaleidoscope", "raven"):
        assert code == 1
        assert "hint: rename the folder" in capsys.readouterr().err
    else:
        assert code == 0
