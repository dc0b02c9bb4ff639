"""A folder is its files one by one: in any order, on any processes, whatever lies there."""

import csv
import gc
import json
import os
import subprocess
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import dataset, parquet
from support.lone_worker import Alone, alone, classified
from support.made_recordings import BAD, GOOD, content, recording, recordings

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.guano import append_chunk, guano_bytes
from edge_probe.desk.survey.listing import Batch, Listing, make_list
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.parts import DETECTIONS, FILES
from edge_probe.desk.survey.reader import Survey
from edge_probe.desk.survey.survey import Request, Workers, classify_folder
from edge_probe.desk.survey.work import BatchResult, Work, unheard
from edge_probe.errors import EdgeProbeError, StateError

UTC_OFFSET = timedelta(hours=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("season") / "recordings")


@pytest.fixture
def bundle(analyser: ChunkAnalyser) -> Bundle:
    return analyser.bundle


def bad(out: Path) -> list[dict[str, str]]:
    with (out / "bad.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_its_files_one_by_one(
    folder: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Logits to the last bit, and the same words about what is bad."""
    options = ["--bundle", str(bundle.path), "--utc-offset", "+01:00"]
    out = tmp_path / "out"
    assert main(["classify", str(folder), "--out", str(out), "--jobs", "2", *options]) == 0
    said = capsys.readouterr()
    assert f"{len(GOOD) + len(BAD)} files" in said.out
    assert f"{len(BAD)} files are not whole or not good" in caplog.text
    rows = dataset.dataset(out / DETECTIONS).to_table().to_pylist()
    problems = {row["path"]: row["problem"] for row in bad(out)}
    assert problems.keys() == BAD.keys()
    n_found = 0
    for name in [*GOOD, *BAD]:
        timed = ["--file-times"] if "2026" in name else []
        path = folder / name
        code = main(["classify", str(path), "--json", *options[: 4 if timed else 2], *timed])
        said = capsys.readouterr()
        found = [json.loads(line) for line in said.out.splitlines()]
        own = [row for row in rows if row["path"] == name]
        assert [row["logit"] for row in own] == [one["logit"] for one in found]
        for row, one in zip(own, found, strict=True):
            assert row["label"] == one["label"]
            assert row["score"] == pytest.approx(one["score"], abs=1e-6)
            assert row["start_s"] == pytest.approx(one["start_s"], abs=1e-3)
            assert row["end_s"] == pytest.approx(one["end_s"], abs=1e-3)
            assert (row["start_utc"] is None) == (one["time_utc"] is None)
            if timed:
                moment = datetime.fromisoformat(one["time_utc"])
                assert abs(row["start_utc"] - moment) < timedelta(milliseconds=1)
        assert code == (name in BAD)
        if name in BAD:
            assert BAD[name] in problems[name]
            assert BAD[name] in said.err
        n_found += len(found)
    assert len(rows) == n_found > len(GOOD)


def test_audio_before_a_damage_counts(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    classified(Request(folder, tmp_path / "out", bundle, utc_offset=UTC_OFFSET))
    seconds = {row["path"]: float(row["classified_s"]) for row in bad(tmp_path / "out")}
    assert seconds["bad/cut.wav"] == pytest.approx(0.7)
    assert seconds["bad/nan.wav"] == pytest.approx(0.9)
    assert seconds["bad/short.wav"] == seconds["bad/pipe.wav"] == 0


@pytest.fixture(scope="module", params=[1, 400_000, 1 << 24])
def expected(
    request: pytest.FixtureRequest, folder: Path, analyser: ChunkAnalyser,
    tmp_path_factory: pytest.TempPathFactory,
) -> Request:  # fmt: skip
    """Made without haste: a file a batch, a few, or all of them."""
    out = tmp_path_factory.mktemp("expected") / "out"
    wanted = Request(folder, out, analyser.bundle, utc_offset=UTC_OFFSET, batch_bytes=request.param)
    classified(wanted)
    return wanted


@settings(max_examples=5)
@given(data=st.data())
def test_any_order_gives_the_same_bytes(
    expected: Request, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """And a stop anywhere, after which somebody goes on in another order."""

    def shuffled(batches: list[Batch]) -> list[Batch]:
        return list(data.draw(st.permutations(batches)))

    def hire(work: Work, _pace: Pace) -> Workers:
        return Alone(work, shuffled)

    request = replace(expected, out=tmp_path_factory.mktemp("other") / "out")
    looks = iter(range(data.draw(st.integers(0, 20))))
    classify_folder(request, hire, StringIO(), lambda: next(looks, None) is None)
    classified(request, hire)
    assert content(request.out) == content(expected.out)


def test_where_the_folder_lies_does_not_matter(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").symlink_to(folder)
    first = Request(folder, tmp_path / "a", bundle, utc_offset=UTC_OFFSET)
    second = Request(tmp_path / "elsewhere", tmp_path / "b", bundle, utc_offset=UTC_OFFSET)
    classified(first)
    classified(second)
    a, b = content(tmp_path / "a"), content(tmp_path / "b")
    assert a.pop("survey.json") != b.pop("survey.json")
    assert a == b


def test_what_is_done_is_not_done_again(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    request = Request(folder, tmp_path / "out", bundle, utc_offset=UTC_OFFSET, batch_bytes=1)
    looks = iter(range(5))
    assert classify_folder(request, alone, StringIO(), lambda: next(looks, None) is None) is None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.parquet")}
    assert len(before) == 10
    leftovers = [tmp_path / "out" / FILES / ".000009.parquet.abcd.new"]
    leftovers.append(tmp_path / "out" / ".bad.csv.abcd.new")
    for path in leftovers:
        path.write_bytes(b"half")
    classified(request)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not any(path.exists() for path in leftovers)


def test_other_files_or_settings_are_refused(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    recording(tmp_path / "r" / "a.wav", 500, 1)
    recording(tmp_path / "r" / "b.wav", 500, 2)
    request = Request(tmp_path / "r", tmp_path / "out", bundle)
    classified(request)
    again = Request(tmp_path / "r", tmp_path / "out", bundle, channel=0)
    with pytest.raises(StateError, match="expected channel null, found 0"):
        classified(again)
    recording(tmp_path / "r" / "c.wav", 500, 3)
    with pytest.raises(StateError, match=r"about 2 files, found 3: c\.wav is new"):
        classified(request)
    (tmp_path / "r" / "a.wav").unlink()
    (tmp_path / "r" / "c.wav").unlink()
    with pytest.raises(StateError, match=r"about 2 files, found 1: a\.wav is not there any more"):
        classified(request)
    with pytest.raises(EdgeProbeError, match="expected a new folder or one of classify"):
        classified(Request(tmp_path / "r", folder, bundle))
    (tmp_path / "none").mkdir()
    with pytest.raises(EdgeProbeError, match="found none by their names"):
        classified(Request(tmp_path / "none", tmp_path / "out2", bundle))


def test_the_offset_is_asked_for_before_any_work(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(EdgeProbeError, match="offset from UTC it does not tell"):
        classified(Request(folder, tmp_path / "out", bundle))
    classified(Request(folder, tmp_path / "out", bundle, utc_offset=UTC_OFFSET))
    rows = dataset.dataset(tmp_path / "out" / FILES).to_table().to_pylist()
    begun = {row["path"]: row["start_utc"] for row in rows}
    assert begun["a/20260501_040000.wav"] == datetime(2026, 5, 1, 3, tzinfo=UTC)
    assert begun["plain.WAV"] is None


def test_a_file_that_changed_since_it_was_listed_is_told(bundle: Bundle, tmp_path: Path) -> None:
    path = recording(tmp_path / "r" / "a.wav", 500, 1)

    class Late(Alone):
        def results(
            self, batches: Iterable[Batch], stopped: Callable[[], bool]
        ) -> Iterator[BatchResult]:
            listed = list(batches)
            recording(path, 600, 1)
            yield from super().results(listed, stopped)

    classified(Request(tmp_path / "r", tmp_path / "out", bundle), lambda work, _pace: Late(work))
    assert "had 1044 bytes when it was listed, and has 1244" in (
        tmp_path / "out" / "bad.csv"
    ).read_text(encoding="utf-8")


def test_a_list_that_a_power_cut_has_damaged_is_no_riddle(bundle: Bundle, tmp_path: Path) -> None:
    recording(tmp_path / "r" / "a.wav", 500, 1)
    request = Request(tmp_path / "r", tmp_path / "out", bundle)
    classified(request)
    (tmp_path / "out" / "list.sqlite").write_bytes(bytes(8192))
    recording(tmp_path / "r" / "b.wav", 500, 2)
    with pytest.raises(StateError, match=r"about 1 files, found 2: which one, list\.sqlite cannot"):
        classified(request)
    (tmp_path / "r" / "b.wav").unlink()
    assert classified(request).n_files == 1


@pytest.mark.parametrize("mount_point", [False, True])
def test_a_folder_that_goes_away_ends_the_work_and_no_file_is_called_bad(
    bundle: Bundle, tmp_path: Path, *, mount_point: bool
) -> None:
    """The point where a disk was mounted stays, and is empty."""
    recording(tmp_path / "r" / "a.wav", 500, 1)
    recording(tmp_path / "r" / "b.wav", 500, 2)
    request = Request(tmp_path / "r", tmp_path / "out", bundle, batch_bytes=1)

    class Unplugged(Alone):
        def results(
            self, batches: Iterable[Batch], stopped: Callable[[], bool]
        ) -> Iterator[BatchResult]:
            for result in super().results(batches, stopped):
                (tmp_path / "r").rename(tmp_path / "unplugged")
                if mount_point:
                    (tmp_path / "r").mkdir()
                yield result

    with pytest.raises(StateError, match="is not there any more"):
        classified(request, lambda work, _pace: Unplugged(work))
    if mount_point:
        (tmp_path / "r").rmdir()
    (tmp_path / "unplugged").rename(tmp_path / "r")
    assert classified(request).n_bad == 0


def test_digits_and_clocks_that_are_no_time_end_nothing(bundle: Bundle, tmp_path: Path) -> None:
    """In UTC the year before the first."""
    recording(tmp_path / "r" / "00010101_000000.wav", 500, 1)
    guano = guano_bytes({"Timestamp": datetime(1, 1, 1, tzinfo=timezone(UTC_OFFSET))})
    append_chunk(recording(tmp_path / "r" / "a.wav", 500, 2), guano)
    done = classified(Request(tmp_path / "r", tmp_path / "out", bundle, utc_offset=UTC_OFFSET))
    assert (done.n_files, done.n_bad, done.audio_s) == (2, 1, 1.0)
    assert 'a.wav,"its metadata tell that it began in the year 1,' in (
        tmp_path / "out" / "bad.csv"
    ).read_text(encoding="utf-8")
    with Survey(tmp_path / "out") as survey:
        assert [row.start_utc for row in survey.effort()] == [None, None]


@pytest.mark.parametrize(("kib", "where"), [(8, "out/.list.sqlite.new"), (20, "out")])
def test_a_full_disk_is_told_and_the_same_command_goes_on(
    kib: int, where: str, bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is full while files are listed, or while results are written."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    recording(tmp_path / "r" / "a.wav", 500, 1)
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [
        "classify", str(tmp_path / "r"), "--out", str(disk / "out"), "--bundle", str(bundle.path),
        "--jobs", "1",
    ]  # fmt: skip
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", disk], check=True)
    try:
        assert main(command) == 1
        error, hint = capfd.readouterr().err.splitlines()[-2:]
        assert error.startswith(f"error: {disk / where}: ")
        assert "full" in error or "No space left" in error
        assert hint == "hint: look at free space and permissions"
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        assert main(command) == 0
        assert not [one for one in disk.rglob("*") if one.name.startswith(".")]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_name_that_is_no_text_is_told(bundle: Bundle, tmp_path: Path) -> None:
    recording(tmp_path / "r" / "a.wav", 500, 1)
    (tmp_path / "r" / "a.wav").rename(tmp_path / "r" / os.fsdecode(b"\xff.wav"))
    classified(Request(tmp_path / "r", tmp_path / "out", bundle))
    assert "\\xff.wav,its name is not UTF-8,0.0" in (tmp_path / "out" / "bad.csv").read_text()


def test_a_folder_with_a_name_that_is_no_text_will_do(bundle: Bundle, tmp_path: Path) -> None:
    recording(tmp_path / "r" / "a.wav", 500, 1)
    folder = (tmp_path / "r").rename(tmp_path / os.fsdecode(b"\xff"))
    request = Request(folder, tmp_path / "out", bundle)
    assert classified(request).n_bad == 0
    assert classified(request).n_files == 1
    with Survey(tmp_path / "out") as survey:
        assert survey.audio == folder


@given(
    sizes=st.dictionaries(
        st.text("ab/é木", min_size=1, max_size=8).map(lambda t: t.strip("/") or "x"),
        st.integers(0, 300), min_size=1, max_size=40,
    ),
    batch_bytes=st.integers(1, 1 << 20),
)  # fmt: skip
@settings(max_examples=40)
def test_batches_are_the_list_cut_in_pieces(
    sizes: dict[str, int], batch_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("lists")
    for name, size in sizes.items():
        path = base / "r" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    make_list(base / "r", base / "list", batch_bytes)
    with Listing(base / "list") as listing:
        extent = listing.extent()
        entries = list(listing.entries())
        batches = [listing.batch(number) for number in range(extent.n_batches)]
        told = listing.batch_bytes()
    found = sorted(path.relative_to(base / "r").as_posix() for path in base.rglob("r/**/*.wav"))
    assert [entry.path for entry in entries] == sorted(found, key=os.fsencode)
    assert [entry for batch in batches for entry in batch.entries] == entries
    assert [entry.number for entry in entries] == list(range(extent.n_files))
    assert told == [batch.n_bytes for batch in batches]
    assert sum(told) == extent.n_bytes


def test_memory_does_not_grow_with_the_number_of_files(bundle: Bundle, tmp_path: Path) -> None:
    """Of the process that hands out and keeps; Python's share of it, SQLite has a fixed one."""

    class Deaf:
        def results(
            self, batches: Iterable[Batch], stopped: Callable[[], bool]
        ) -> Iterator[BatchResult]:
            for batch in batches:
                files = tuple(unheard(entry, "not looked at") for entry in batch.entries)
                yield BatchResult(batch.number, files)

    def peak_bytes(n_files: int) -> int:
        folder = tmp_path / f"r{n_files}"
        folder.mkdir()
        for n in range(n_files):
            (folder / f"{n:032d}.wav").touch()
        request = Request(folder, tmp_path / f"out{n_files}", bundle, utc_offset=UTC_OFFSET)
        gc.collect()
        tracemalloc.start()
        try:
            classified(request, lambda _work, _pace: Deaf())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(999)  # what is imported and made once
    few, many = peak_bytes(1000), peak_bytes(6000)
    assert many < few + 400_000, (few, many)  # 5,000 names would be over a million


def test_pace_tells_hours_and_what_is_left() -> None:
    pace = Pace(StringIO(), 1000, 100)
    pace.file(0, 100, 7200.0)
    pace.file(1, 50, 1800.0)
    pace.lost(1)
    pace.file(1, 100, 3600.0)
    pace.kept(0)
    assert pace.text(60.0) == "3.0 h of audio, 0.05 h/s, 30 % done, 4 min left"


def test_options_of_files_and_of_folders_are_not_mixed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: str) -> str:
        assert main(["classify", *arguments]) == 1
        return capsys.readouterr().err

    out = ["--out", str(tmp_path / "out")]
    assert "say where with --out" in refused(str(folder))
    assert "one folder at a time" in refused(str(folder), str(folder), *out)
    assert "are not about a folder" in refused(str(folder), *out, "--json")
    assert "about a folder of recordings" in refused(str(folder / "plain.WAV"), *out)
    unplugged = tmp_path / "disk"
    assert f"{unplugged}: no such folder" in refused(str(unplugged), *out)
    cluster = ["--scheduler", "tcp://localhost:1", "--jobs", "1"]
    assert "a cluster has the workers it has" in refused(str(folder), *out, *cluster)
    for shard in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(SystemExit):
            main(["classify", str(folder), *out, "--shard", shard])


def test_parquet_parts_say_all_by_themselves(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    classified(Request(folder, tmp_path / "out", bundle, utc_offset=UTC_OFFSET, batch_bytes=1))
    parts = sorted((tmp_path / "out" / DETECTIONS).glob("*.parquet"))
    assert len(parts) == len(GOOD) + len(BAD)
    schemas = {parquet.read_schema(part) for part in parts}
    assert len(schemas) == 1
    rows = [row for part in parts for row in parquet.read_table(part).to_pylist()]
    assert {row["bundle_sha256"] for row in rows} == {bundle.sha256}
    with Survey(tmp_path / "out") as survey:
        assert [row.logit for row in sorted(survey.detections(), key=lambda r: r.detection)] == [
            row["logit"] for row in rows
        ]
