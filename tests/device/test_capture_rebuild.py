"""A damaged ledger never stops the recorder, and takes no audio with it."""

from pathlib import Path

import pytest
from device.test_capture_writer import Recording
from support.numbered_source import account, stretches


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
        for path in tmp_path.glob("capture.sqlite*"):
            path.unlink()
    second = Recording(tmp_path)
    second.record(60)
    second.end()
    assert account(tmp_path, 1)[0][2] == "power"
    assert sum(n or 0 for _, n, cause, _ in stretches(tmp_path, 1) if cause is None) == 12000
    assert account(tmp_path, 2) == [(6000, -1, "schedule")]
    assert (damage == "gone") == (not list(tmp_path.glob("capture.sqlite.damaged-1")))
