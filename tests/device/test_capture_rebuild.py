"""A damaged ledger never stops the recorder, and takes no audio with it."""

import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path

import pytest
from device.test_capture_writer import RATE, Recording
from support.numbered_source import account, stretches

from edge_probe.capture.store import Store
from edge_probe.deployment.effort import read_both, rows
from edge_probe.deployment.state import StateFolder
from edge_probe.health.row import Row


@pytest.mark.parametrize("damage", ["no database", "torn page", "gone"])
def test_a_damaged_ledger_is_put_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    first = Recording(tmp_path)
    first.record(120)
    first.end()
    ledger = tmp_path / "capture.sqlite"
    if damage == "no database":
        ledger.write_bytes(b"something else " * 1000)
    elif damage == "torn page":
        data = bytearray(ledger.read_bytes())
        data[4096:] = b"\xa5" * (len(data) - 4096)
        ledger.write_bytes(data)
    else:
        forget(tmp_path)
    second = Recording(tmp_path)
    second.record(60)
    second.end()
    assert account(tmp_path, 1)[0][2] == "power"
    assert sum(n or 0 for _, n, cause, _ in stretches(tmp_path, 1) if cause is None) == 12000
    assert account(tmp_path, 2) == [(6000, -1, "schedule")]
    assert (damage == "gone") == (not list(tmp_path.glob("capture.sqlite.damaged-1")))


def forget(state: Path) -> None:
    """Lose the ledger."""
    for path in state.glob("capture.sqlite*"):
        path.unlink()


def tear(state: Path, table: str) -> None:
    """Destroy the root page of a table on the disk."""
    ledger = state / "capture.sqlite"
    with closing(sqlite3.connect(ledger)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    with ledger.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xa5" * page_bytes)


def test_all_streams_of_a_new_ledger_are_whole(tmp_path: Path) -> None:
    for n_blocks in (180, 120, 60):
        recording = Recording(tmp_path)
        recording.record(n_blocks)
        recording.end("device")
    audio = sorted((tmp_path / "audio").iterdir())
    assert len(audio) == 4 + 3 + 2
    audio[0].unlink()
    audio[2].unlink()
    audio[6].rename(audio[6].with_name(audio[6].name + ".part"))  # of the second stream
    forget(tmp_path)
    last = Recording(tmp_path)
    last.record(30)
    last.end()
    assert account(tmp_path, 1) == [
        (0, 5000, "power"), (10_000, 5000, "power"), (18_000, -1, "power")
    ]  # fmt: skip
    assert account(tmp_path, 2) == [(12_000, -1, "power")]
    assert account(tmp_path, 3) == [(6000, -1, "power")]
    assert account(tmp_path, 4) == [(3000, -1, "schedule")]
    found = read_both(StateFolder(tmp_path), lambda capture, _: [*rows(capture, None, None)])
    known = [row.frames for row in found if row.stream == 1 and row.end_utc_ns is not None]
    assert sum(frames.gap or 0 for frames in known) == 10_000
    assert sum(frames.recorded for frames in known) == 8000
    assert [row.stream for row in found if row.end_utc_ns is None] == [1, 2, 3]


def test_damage_met_at_work_costs_nothing(tmp_path: Path) -> None:
    """It lies where opening does not look."""
    health = deque([Row(1, "rms.0", -20.0, "dBFS")])
    recording = Recording(tmp_path)
    recording.open = lambda remains: Store(tmp_path, recording.clock, remains, health=health)
    recording.record(83)
    tear(tmp_path, "health")
    health.append(Row(2, "rms.0", -21.0, "dBFS"))
    recording.record(90)
    recording.end()
    assert (tmp_path / "capture.sqlite.damaged-1").exists()
    assert account(tmp_path) == [(17_300, -1, "schedule")]
    assert not health
    with closing(sqlite3.connect(tmp_path / "capture.sqlite")) as db:
        assert db.execute("SELECT boot FROM stream").fetchall() == [(2,)]
        assert db.execute("SELECT DISTINCT boot FROM clock_anchor").fetchall() == [(2,)]
        assert db.execute("SELECT monotonic_ns FROM health").fetchall() == [(2,)]


def test_a_stream_goes_on_of_which_nothing_is_left(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.record(80)
    recording.writer._give_up()
    (n_safe,) = recording.writer._remains.safe.values()  # of the second segment
    forget(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        path.unlink()
    recording.record(80)
    recording.end()
    assert account(tmp_path) == [(0, 5000 + n_safe, "power"), (16_000, -1, "schedule")]


def test_what_a_disk_loses_although_it_was_safe_is_a_gap(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.record(100)
    (part,) = (tmp_path / "audio").glob("*.part")
    recording.writer._give_up()
    (n_safe,) = recording.writer._remains.safe.values()
    assert 0 < n_safe <= 5 * RATE
    part.unlink()
    recording.record(30)
    recording.end()
    assert account(tmp_path) == [(5000, n_safe, "disk"), (13_000, -1, "schedule")]
