"""Reading somebody else's database: while it is written, at rest, and where nothing can be written.

What needs a mount needs root: elsewhere it is skipped, in CI it must run.
"""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_probe.database import (
    LOG_BYTES,
    bound_log,
    connect,
    inode,
    is_damage,
    open_to_read,
    put_aside_if_damaged,
    read,
    settle_log,
)
from edge_probe.errors import StateError

needs_mount = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0,
    reason="mounting read-only needs root on Linux: run it in the CI container",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder / "some#odd name?.sqlite"


def writer(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS t (a)")
    return db


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM t").fetchone()[0])


def add(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t VALUES (zeroblob(2000))")


def test_what_is_committed_is_seen_while_more_is_written(path: Path) -> None:
    db = writer(path)
    for n in range(5):
        add(db)
        db.execute("BEGIN IMMEDIATE")
        add(db)
        assert read(path, count, 1) == n + 1
        db.execute("ROLLBACK")


def test_a_connection_to_read_cannot_write_and_stays_small(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        open_to_read(path)
    db = writer(path)
    add(db)
    reader = open_to_read(path)
    assert count(reader) == 1
    assert -256 <= reader.execute("PRAGMA cache_size").fetchone()[0] < 0  # KiB
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        add(reader)
    path.with_name("other").write_bytes(b"no database" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_to_read(path.with_name("other"))


def test_another_database_has_another_number(path: Path) -> None:
    assert inode(path) == 0
    path.touch()
    first = inode(path)
    assert first == path.stat().st_ino
    path.rename(path.with_name("aside"))
    assert inode(path) == 0
    path.touch()
    assert inode(path) not in (0, first)


def test_a_reader_sees_one_moment(path: Path) -> None:
    db = writer(path)

    def look(reader: sqlite3.Connection) -> tuple[int, int]:
        before = count(reader)
        add(db)
        return before, count(reader)

    assert read(path, look, 1) == (0, 0)


def test_a_database_at_rest_stays_as_it_is(path: Path) -> None:
    db = writer(path)
    add(db)
    db.close()
    assert read(path, count, 1) == 1
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_writer_that_begins_meanwhile_is_noticed(path: Path) -> None:
    writer(path).close()
    looks: list[int] = []

    def look(reader: sqlite3.Connection) -> int:
        if not looks:  # somebody writes and ends while the database is read as if at rest
            db = writer(path)
            add(db)
            db.close()
        looks.append(count(reader))
        return looks[-1]

    assert read(path, look, 1) == 1
    assert len(looks) == 2


def test_an_error_of_a_reader_that_was_overtaken_is_not_told(path: Path) -> None:
    writer(path).close()
    n_looks = 0

    def look(reader: sqlite3.Connection) -> int:
        nonlocal n_looks
        n_looks += 1
        if n_looks == 1:
            db = writer(path)
            add(db)
            db.close()
            raise sqlite3.DatabaseError("database disk image is malformed")
        return count(reader)

    assert read(path, look, 1) == 1


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" * 64])
def test_what_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StateError, match="cannot be read") as caught:
        read(path, count, 1)
    assert ".recover" in str(caught.value.hint)
    with pytest.raises(StateError, match="no such file"):
        read(path.with_name("other"), count, 1)


def cut_power(path: Path, *left: str) -> None:
    """Leave files as they are while a row is only in the -wal, by what follows their name."""
    db = writer(path)
    add(db)
    files = [path.with_name(path.name + suffix) for suffix in left]
    contents = [file.read_bytes() for file in files]
    db.close()
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder as a card in a reader that is switched to read-only."""
    place = folder.with_name("mounted")
    place.mkdir()
    subprocess.run(["mount", "--bind", folder, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@needs_mount
def test_a_finished_one_is_read_off_a_read_only_card(path: Path) -> None:
    db = writer(path)
    add(db)
    db.close()
    with read_only(path.parent) as card:
        assert read(card / path.name, count, 1) == 1


@needs_mount
def test_one_that_a_power_cut_ended_is_read_off_a_read_only_card(path: Path) -> None:
    cut_power(path, "", "-wal", "-shm")
    with read_only(path.parent) as card:
        assert read(card / path.name, count, 1) == 1


@needs_mount
def test_where_it_cannot_be_read_the_way_out_is_told(path: Path) -> None:
    cut_power(path, "", "-wal")  # the -shm is never synced
    with read_only(path.parent) as card, pytest.raises(StateError) as caught:
        read(card / path.name, count, 1)
    assert "copy the whole folder" in str(caught.value.hint)
    assert read(path, count, 1) == 1  # the copy, so to speak


def test_a_log_is_written_again_as_it_is_and_never_beside_a_writer(path: Path) -> None:
    db = writer(path)
    for _ in range(50):
        add(db)
    log = path.with_name(path.name + "-wal")
    before = log.read_bytes()
    os.utime(log, ns=(0, 0))
    settle_log(db, path)
    assert log.read_bytes() == before.ljust(LOG_BYTES, b"\0")
    assert log.stat().st_mtime_ns > 0
    other = writer(path)
    other.execute("PRAGMA busy_timeout = 0")
    db.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        settle_log(other, path)
    db.execute("ROLLBACK")
    add(other)
    assert count(db) == 51


@pytest.mark.parametrize("page_bytes", [512, 1024, 4096])
def test_a_log_keeps_its_size(path: Path, page_bytes: int) -> None:
    """A commit that lets it grow costs the journal of the file system more than itself."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size = {page_bytes}")
    db.execute("PRAGMA journal_mode = WAL")
    bound_log(db)
    settle_log(db, path)
    log = path.with_name(path.name + "-wal")
    db.execute("CREATE TABLE one (a)")
    for _ in range(3 * LOG_BYTES // 16_000):
        db.execute("INSERT INTO one VALUES (randomblob(15000))")
        assert log.stat().st_size == LOG_BYTES
    assert path.stat().st_size > LOG_BYTES  # several times around
    db.close()


@needs_mount
def test_a_log_without_room_is_as_long_as_it_is(tmp_path: Path) -> None:
    size = ["-o", f"size={LOG_BYTES // 2}"]
    subprocess.run(["mount", "-t", "tmpfs", *size, "none", tmp_path], check=True)
    try:
        db = writer(tmp_path / "a.sqlite")
        add(db)
        log = tmp_path / "a.sqlite-wal"
        before = log.read_bytes()
        settle_log(db, tmp_path / "a.sqlite")
        assert log.read_bytes() == before
        add(db)
        assert count(db) == 2
        db.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_schema_with_stray_bytes_is_damaged(path: Path) -> None:
    """SQLite quotes them, and Python cannot decode what it says."""
    writer(path).close()
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE t", b"CREATE T\xc6\xff\xfeE t"))
    with pytest.raises(StateError, match="malformed"):
        read(path, count, 1)
    db = connect(path)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        count(db)
    db.close()
    assert is_damage(caught.value)
    assert put_aside_if_damaged(path)


def test_a_database_of_another_program_is_told_as_such(path: Path) -> None:
    writer(path).close()
    with pytest.raises(StateError, match="no such table") as caught:
        read(path, lambda db: db.execute("SELECT * FROM stream").fetchall(), 1)
    assert "another program" in str(caught.value.hint)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff um\xc3\xa4? #1\n"))
    folder.mkdir()
    db = writer(folder / "a.sqlite")
    add(db)
    assert read(folder / "a.sqlite", count, 1) == 1
    db.close()
    assert read(folder / "a.sqlite", count, 1) == 1
