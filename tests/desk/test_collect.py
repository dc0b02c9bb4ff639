"""Cards from the field become one archive: every committed row once, no card changed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path

import pytest
from support.analysed_state import check_account
from support.made_card import FieldRecorder, Rows, committed, fingerprint

from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.archive import Deployment, open_archive
from edge_probe.desk.collect import Outcome, collect
from edge_probe.desk.files import WriteError, sha256_of
from edge_probe.desk.progress import Progress
from edge_probe.errors import StateError

N_CARDS = 40


@pytest.fixture
def recorder(tmp_path: Path, analyser: ChunkAnalyser) -> FieldRecorder:
    found = FieldRecorder(tmp_path / "recorder", analyser, 1, "wood", segment_s=0.2)
    found.record(500)
    return found


def gather(archive: Path, *cards: Path) -> list[Outcome]:
    return list(collect(cards, archive, Progress(StringIO())))


def only(outcomes: list[Outcome]) -> Outcome:
    (outcome,) = outcomes
    assert outcome.collection is not None, outcome.error
    return outcome


def bad(outcome: Outcome) -> dict[str, str]:
    assert outcome.collection is not None, outcome.error
    return {one.what: one.why for one in outcome.collection.bad}


def check_copy(card: Path, folder: Path, scratch: Path) -> None:
    """Every committed row once, every file as it was, nothing left over."""
    assert committed(folder, scratch) == committed(card, scratch)
    for audio in (card / "audio").glob("*.wav"):
        assert sha256_of(folder / "audio" / audio.name) == sha256_of(audio)
    left = [path for path in folder.rglob("*") if path.name.endswith(("-wal", "-shm", ".new"))]
    assert not left
    assert not (folder / ".collecting").exists()
    told = json.loads((folder / "collected.json").read_text())
    for name, note in told["files"].items():
        assert sha256_of(folder / name) == note["sha256"], name


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """A folder mounted where nothing can be written."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = folder.with_name(folder.name + "-mounted")
    place.mkdir()
    subprocess.run(["mount", "--bind", folder, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (place / "x").touch()
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def cut_log(card: Path) -> int:
    """Cut ``detections.sqlite-wal`` in the middle of a frame, as a power cut may."""
    log = card / "detections.sqlite-wal"
    data = log.read_bytes()
    used = len(data.rstrip(b"\0"))
    os.truncate(log, used - used // 4 - 7)
    return used


def cut_database(path: Path) -> None:
    """Cut off the last third."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(path, path.stat().st_size * 2 // 3 // 4096 * 4096 + 4000)  # within a page, too


def check_rescued(folder: Path, whole: Rows, scratch: Path) -> None:
    """Nothing that was not there, nothing twice, and more than a little."""
    found = committed(folder, scratch)
    for table, rows in found.items():
        assert len(set(rows)) == len(rows)
        assert set(rows) <= set(whole[table]), table
    assert len(found["chunk"]) > len(whole["chunk"]) // 3


def test_forty_cards(tmp_path: Path, analyser: ChunkAnalyser) -> None:
    cards = []
    for n in range(N_CARDS - 1):
        one = FieldRecorder(tmp_path / f"r{n}", analyser, n, f"site-{n:02d}", segment_s=0.2)
        one.record(200 + 10 * n if n != 5 else 6_000)  # of a few pages nothing may be left
        if n % 3 == 0:
            one.reboot()
            one.record(150)
        cards.append(one.pull(tmp_path / "cards" / f"{n:02d}"))
        one.worker._store.close()
        shutil.rmtree(one.state)
    cut_log(cards[3])
    whole = committed(cards[5], tmp_path / "scratch")
    cut_database(cards[5] / "detections.sqlite")
    cards.append(shutil.copytree(cards[7], tmp_path / "cards" / "twice"))
    before = [fingerprint(card) for card in cards]

    outcomes = gather(tmp_path / "archive", *cards)

    assert [fingerprint(card) for card in cards] == before
    assert [n for n, one in enumerate(outcomes) if not one.is_good] == [5]
    assert "damaged" in bad(outcomes[5])["detections.sqlite"]
    twice = outcomes[-1].collection
    assert twice is not None
    assert (twice.n_copied, twice.bad) == (0, [])
    for n, card in enumerate(cards[:-1]):
        folder = tmp_path / "archive" / f"site-{n:02d}"
        if n != 5:
            check_copy(card, folder, tmp_path / "scratch")
        if n not in {3, 5}:  # of what was cut off there are no chunks any more
            check_account(folder)
    check_rescued(tmp_path / "archive" / "site-05", whole, tmp_path / "scratch")
    told = Counter(one.deployment_id for one in open_archive(tmp_path / "archive").detections())
    assert len(told) >= N_CARDS - 2
    assert len(open_archive(tmp_path / "archive").folders) == N_CARDS - 1


def test_a_card_that_cannot_be_written(recorder: FieldRecorder, tmp_path: Path) -> None:
    """The log is not merged, and SQLite cannot read it in its place."""
    card = recorder.pull(tmp_path / "card")
    (card / "audio" / "notes.txt").write_text("not ours")
    before = fingerprint(card)
    with read_only(card) as mounted:
        with (
            pytest.raises(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{mounted}/detections.sqlite?mode=ro", uri=True)) as db,
        ):
            db.execute("SELECT count(*) FROM detection").fetchone()
        detections = list(open_archive(mounted).detections())
        assert only(gather(tmp_path / "archive", mounted)).is_good
    assert fingerprint(card) == before
    assert detections
    check_copy(card, tmp_path / "archive" / "wood", tmp_path / "scratch")
    assert not (tmp_path / "archive" / "wood" / "audio" / "notes.txt").exists()


def test_a_deployment_goes_on(recorder: FieldRecorder, tmp_path: Path) -> None:
    archive, folder = tmp_path / "archive", tmp_path / "archive" / "wood"
    early = recorder.pull(tmp_path / "early")
    first = only(gather(archive, early)).collection
    recorder.reboot()
    recorder.record(700)
    late = recorder.pull(tmp_path / "late")
    second = only(gather(archive, late)).collection
    assert first is not None
    assert second is not None
    assert second.n_there == first.n_copied > 0
    check_copy(late, folder, tmp_path / "scratch")
    again = only(gather(archive, early))
    assert again.collection is not None
    assert (again.collection.n_copied, again.collection.notes) == (0, ["older than what was there"])
    check_copy(late, folder, tmp_path / "scratch")
    told = json.loads((folder / "collected.json").read_text())
    assert [Path(one["source"]).name for one in told["collections"]] == ["early", "late", "early"]


def test_what_the_recorder_deleted_since_is_kept(recorder: FieldRecorder, tmp_path: Path) -> None:
    gather(tmp_path / "archive", recorder.pull(tmp_path / "early"))
    recorder.record(300)
    late = recorder.pull(tmp_path / "late")
    gone = min((late / "audio").glob("*.wav"))
    gone.unlink()
    with closing(sqlite3.connect(late / "capture.sqlite")) as db:
        db.execute(
            "INSERT INTO deletion SELECT NULL, stream, first_frame, n_frames, name, 1, 'quota',"
            " 'nothing', 1, 0, 0 FROM segment WHERE name = ?", (gone.name,),
        )  # fmt: skip
        db.commit()
    assert only(gather(tmp_path / "archive", late)).is_good
    with Deployment(tmp_path / "archive" / "wood") as deployment:
        assert all(segment.path for segment in deployment.segments())


def test_scores_that_the_recorder_dropped_since_are_kept(
    recorder: FieldRecorder, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    gather(archive, recorder.state)
    heard = archive / "wood" / "detections.sqlite"
    before = scores_in(heard)
    with closing(sqlite3.connect(recorder.state / "detections.sqlite")) as db, db:
        db.execute("DELETE FROM chunk_scores WHERE n < 40")
    recorder.record(700)
    left = scores_in(recorder.state / "detections.sqlite")
    assert before - left
    assert left - before
    gather(archive, recorder.state)
    assert scores_in(heard) == before | left


def test_an_archive_from_before_there_were_scores_takes_them(
    recorder: FieldRecorder, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    gather(archive, recorder.state)
    heard = archive / "wood" / "detections.sqlite"
    with closing(sqlite3.connect(heard)) as db, db:
        db.execute("DROP TABLE chunk_scores")
        db.execute("PRAGMA user_version = 1")
    recorder.record(700)
    gather(archive, recorder.state)
    assert scores_in(heard) == scores_in(recorder.state / "detections.sqlite") != set()


def scores_in(path: Path) -> set[tuple]:
    with closing(sqlite3.connect(path)) as db:
        return set(db.execute("SELECT stream, run_frame, n, channel, scores FROM chunk_scores"))


def test_two_recorders_with_one_id(
    recorder: FieldRecorder, tmp_path: Path, analyser: ChunkAnalyser
) -> None:
    other = FieldRecorder(tmp_path / "other", analyser, 2, "wood")
    other.record(300)
    one, two = recorder.pull(tmp_path / "one"), other.pull(tmp_path / "two")
    first, second = gather(tmp_path / "archive", one, two)
    assert first.is_good
    assert second.collection is None
    assert second.error is not None
    assert "no boot in common" in second.error.message
    assert "deployment.toml of the copy" in (second.error.hint or "")
    check_copy(one, tmp_path / "archive" / "wood", tmp_path / "scratch")


def test_a_cloned_card_is_two_recorders(recorder: FieldRecorder, tmp_path: Path) -> None:
    """Both know the boot in which the card was copied, and each its own ones since."""
    clone = recorder.pull(tmp_path / "clone")
    for state, kernel_id in ((recorder.state, "one"), (clone, "two")):
        with closing(sqlite3.connect(state / "capture.sqlite")) as db:
            db.execute("INSERT INTO boot (kernel_id) VALUES (?)", (kernel_id,))
            db.commit()
    first, second = gather(tmp_path / "archive", recorder.pull(tmp_path / "one"), clone)
    assert first.is_good
    assert second.error is not None
    assert "in common until boot 1" in second.error.message


def test_the_last_segment_of_a_power_cut_is_kept(tmp_path: Path, analyser: ChunkAnalyser) -> None:
    recorder = FieldRecorder(tmp_path / "recorder", analyser, 1, "wood", segment_s=60)
    recorder.card.noise(7000, 3)
    card = recorder.pull(tmp_path / "card")
    (growing,) = (card / "audio").glob("*.part")
    with growing.open("ab") as file:
        file.truncate(growing.stat().st_size + (1 << 20))  # a size without its blocks
    before = fingerprint(card)
    assert only(gather(tmp_path / "archive", card)).is_good
    assert fingerprint(card) == before
    folder = tmp_path / "archive" / "wood"
    with Deployment(folder) as deployment:
        last = list(deployment.segments())[-1]
    assert last.name == growing.name.removesuffix(".part")
    assert last.path is not None
    assert last.path.stat().st_size == 44 + 2 * last.n_samples
    assert last.n_samples == (3 * 4096 - 44) // 2
    assert last.path.read_bytes()[44:] == growing.read_bytes()[44 : 44 + 2 * last.n_samples]


def test_a_file_that_is_missing_or_short_is_told_of(
    recorder: FieldRecorder, tmp_path: Path
) -> None:
    card = recorder.pull(tmp_path / "card")
    missing, short, *_ = sorted((card / "audio").glob("*.wav"))
    missing.unlink()
    os.truncate(short, short.stat().st_size - 100)
    found = only(gather(tmp_path / "archive", card))
    assert set(bad(found)) == {f"audio/{missing.name}", f"audio/{short.name}"}
    assert "not there" in bad(found)[f"audio/{missing.name}"]
    whole = recorder.pull(tmp_path / "whole")
    assert only(gather(tmp_path / "archive", whole)).is_good
    check_copy(whole, tmp_path / "archive" / "wood", tmp_path / "scratch")
    assert f"audio/{short.name}" in bad(only(gather(tmp_path / "archive", card)))
    check_copy(whole, tmp_path / "archive" / "wood", tmp_path / "scratch")


def test_kill_and_go_on(tmp_path: Path, analyser: ChunkAnalyser) -> None:
    recorder = FieldRecorder(tmp_path / "r", analyser, 1, "wood", segment_s=0.02)
    recorder.record(1500)
    card = recorder.pull(tmp_path / "card")
    archive, folder = tmp_path / "archive", tmp_path / "archive" / "wood"
    files = folder / "audio"
    command = [sys.executable, "-m", "edge_probe", "collect", str(card), "-o", str(archive)]
    n_files = len(list((card / "audio").iterdir()))
    inodes: dict[str, int] = {}
    for n_before in (0, 30, 60, 100):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while not (folder / ".collecting").exists() or count(files) < n_before:
                assert process.poll() is None, "came to its end before it was killed"
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        assert inodes.items() <= whole_files(files).items()  # not copied again
        inodes = whole_files(files)
        assert n_before <= len(inodes) <= n_files
        with pytest.raises(StateError, match="not finished"):
            list(open_archive(archive).detections())
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{n_files - len(inodes)} files" in done.stdout
    assert inodes.items() <= whole_files(files).items()
    check_copy(card, folder, tmp_path / "scratch")


def count(folder: Path) -> int:
    return len(list(folder.glob("*.wav")))


def whole_files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.glob("*.wav")}


def test_what_says_the_command(
    recorder: FieldRecorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = recorder.pull(tmp_path / "card")
    nobody = recorder.pull(tmp_path / "nobody")
    (nobody / "deployment.toml").unlink()
    archive = str(tmp_path / "archive")
    assert main(["collect", str(card), "-o", archive]) == 0
    assert "wood from" in capsys.readouterr().out
    assert main(["collect", str(nobody), str(tmp_path / "no"), str(card), "-o", archive]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "nobody knows which deployment this is" in lines[0]
    assert "no such folder" in lines[2]
    assert lines[-1].endswith("were there, 0 bad")
    assert main(["collect", str(card), "-o", str(card)]) == 1
    assert main(["collect", str(card), "-o", str(tmp_path / "archive" / "wood")]) == 1
    assert "an archive has a folder for each deployment" in capsys.readouterr().err


def test_no_room_no_beginning(
    recorder: FieldRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = recorder.pull(tmp_path / "card")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10**6))
    with pytest.raises(StateError, match=r"of free space, found 0\.00 GB"):
        gather(tmp_path / "archive", card)
    assert not (tmp_path / "archive").exists()


def test_a_refused_card_leaves_nothing(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    with closing(sqlite3.connect(card / "capture.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    (outcome,) = gather(tmp_path / "archive", card)
    assert outcome.error is not None
    assert "version 1 or older, found 99" in outcome.error.message
    assert not (tmp_path / "archive" / "wood").exists()


def test_nothing_is_made_where_nothing_comes(tmp_path: Path) -> None:
    (outcome,) = gather(tmp_path / "archive", tmp_path / "nowhere")
    assert not outcome.is_good
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="expected a folder, found a file"):
        gather(tmp_path / "file", tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_an_archive_has_outlives_a_card_that_is_refused(
    recorder: FieldRecorder, tmp_path: Path
) -> None:
    """Audio whose ledger was lost in the archive, and a card that cannot be read."""
    card, archive = recorder.pull(tmp_path / "card"), tmp_path / "archive"
    assert only(gather(archive, card)).is_good
    (archive / "wood" / "capture.sqlite").unlink()
    before = whole_files(archive / "wood" / "audio")
    with closing(sqlite3.connect(card / "detections.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    (outcome,) = gather(archive, card)
    assert outcome.error is not None
    assert before
    assert whole_files(archive / "wood" / "audio") == before


def test_a_kill_before_the_first_file_goes_on(recorder: FieldRecorder, tmp_path: Path) -> None:
    card, folder = recorder.pull(tmp_path / "card"), tmp_path / "archive" / "wood"
    (folder / ".collecting").mkdir(parents=True)
    (folder / "lock").touch()
    assert only(gather(tmp_path / "archive", card)).is_good
    check_copy(card, folder, tmp_path / "scratch")


@pytest.mark.parametrize("name", ["capture.sqlite", "detections.sqlite"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000], ids=["empty", "nonsense"])
def test_damage_in_the_archive_is_not_put_down_to_the_card(
    name: str, content: bytes, recorder: FieldRecorder, tmp_path: Path
) -> None:
    card, archive = recorder.pull(tmp_path / "card"), tmp_path / "archive"
    assert only(gather(archive, card)).is_good
    path = archive / "wood" / name
    path.write_bytes(content)
    (outcome,) = gather(archive, card)
    assert outcome.error is not None
    assert f"{path.parent}: a database there is damaged" in outcome.error.message
    path.rename(path.with_name("old"))  # so says the hint
    assert only(gather(archive, card)).is_good
    assert committed(path.parent, tmp_path / "s") == committed(card, tmp_path / "s")


def test_a_full_disk_is_not_put_down_to_the_card(
    recorder: FieldRecorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = recorder.pull(tmp_path / "card")

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("edge_probe.desk.snapshot.join_ledgers", fail)
        with pytest.raises(WriteError, match=r"wood: databases cannot be written: .* is full"):
            gather(tmp_path / "archive", card)
    assert only(gather(tmp_path / "archive", card)).is_good


def test_what_is_no_file_is_not_brought(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / "card")
    link, pipe, *_ = sorted((card / "audio").glob("*.wav"))
    (tmp_path / "secret").write_text("of somebody else")
    for path in (link, pipe):
        path.unlink()
    link.symlink_to(tmp_path / "secret")
    os.mkfifo(pipe)
    told = bad(only(gather(tmp_path / "archive", card)))
    for path in (link, pipe):
        assert f"audio/{path.name}" in told
        assert not os.path.lexists(tmp_path / "archive" / "wood" / "audio" / path.name)


def test_names_that_are_no_utf_8(recorder: FieldRecorder, tmp_path: Path) -> None:
    card = recorder.pull(tmp_path / os.fsdecode(b"V\xf6gel"))
    archive = tmp_path / os.fsdecode(b"\xe9t\xe9")
    assert only(gather(archive, card)).is_good
    note = json.loads((archive / "wood" / "collected.json").read_bytes())
    assert note["collections"][0]["source"] == str(card)
    assert only(gather(archive, card)).is_good
    assert list(open_archive(archive).detections())
