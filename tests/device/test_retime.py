"""Wall time put right by hand, and the lock that keeps a recorder from being disturbed."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.made_ledger import RATE, T0, MadeState, S

from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.cli import main
from edge_probe.database import read
from edge_probe.deployment.state import replace_file
from edge_probe.deployment.wall import Wall, utc_text
from edge_probe.errors import StateError
from edge_probe.lock import hold, holder

DAY = 86400


@pytest.fixture
def made(tmp_path: Path) -> MadeState:
    """Boot 1 without a clock, boot 2 with network time, boot 3 with an RTC that was set to +1 h."""
    made = MadeState(tmp_path)
    for offset_ns, trust in ((0, "unset"), (T0, "ntp"), (T0 + 3600 * S, "rtc")):
        made.reboot()
        made.anchor(S, offset_ns + S, trust)
        made.anchor(90_000 * S, offset_ns + 90_000 * S, trust)
        stream = made.stream(opened_ns=10 * S)
        made.segment(stream, 0, DAY * RATE)
    return made


def utc(path: Path, stream: int, frame: int) -> tuple[int, str]:
    return read(
        path / "capture.sqlite", lambda db: Wall.read(db).streams[stream].at(frame), CAPTURE_VERSION
    )


def refused(entered: AbstractContextManager[object], words: str) -> None:
    with pytest.raises(StateError, match=words), entered:
        pass


def retime(path: Path, *arguments: str) -> int:
    return main(["retime", str(path), *arguments])


def test_an_offset_concerns_boots_whose_clock_was_not_set(
    made: MadeState, capsys: pytest.CaptureFixture[str]
) -> None:
    path, before = made.path, utc(made.path, 2, 5)
    for _ in range(2):  # twice is once
        assert retime(path, "--offset", "-3600", "--boot", "3") == 0
        assert utc(path, 3, 0) == (T0 + 10 * S, "manual")
        assert utc(path, 2, 5) == before
        assert utc(path, 1, 0) == (10 * S, "unset")
    out = capsys.readouterr().out
    assert "boot 3: 2023-11-14T23:13:30.000Z (rtc) becomes 2023-11-14T22:13:30.000Z" in out
    assert retime(path, "--offset", "+0.5") == 0
    assert utc(path, 1, 0) == (10 * S + S // 2, "manual")
    assert utc(path, 3, 0) == (T0 + 3610 * S + S // 2, "manual")
    assert utc(path, 2, 5) == before


def test_one_moment_moves_a_boot(made: MadeState) -> None:
    assert retime(made.path, "--anchor", f"1:{60 * RATE}=2026-05-01T12:00:00+02:00") == 0
    moment, trust = utc(made.path, 1, 0)
    assert (utc_text(moment), trust) == ("2026-05-01T09:59:00.000Z", "manual")
    assert utc(made.path, 3, 0) == (T0 + 3610 * S, "rtc")


def test_two_moments_correct_the_rate(made: MadeState) -> None:
    name = "00001-000001-000000000000_unset"
    assert retime(
        made.path, "--anchor", f"some/where/{name}.flac+100.5=2026-05-01T00:01:40.500Z",
        "--anchor", f"1:{DAY * RATE}=2026-05-02T00:00:02Z",
    ) == 0  # fmt: skip
    assert utc_text(utc(made.path, 1, 0)[0]) == "2026-04-30T23:59:59.997Z"
    half = utc_text(utc(made.path, 1, DAY // 2 * RATE)[0])
    assert half == "2026-05-01T12:00:00.998Z"


def test_new_moments_replace_those_given_before(made: MadeState) -> None:
    assert retime(made.path, "--anchor", "1:0=2026-05-01T00:00:00Z") == 0
    assert retime(made.path, "--anchor", f"1:{60 * RATE}=2026-05-01T00:01:01Z") == 0
    for frame in (0, DAY * RATE):
        moment, _ = utc(made.path, 1, frame)
        assert utc_text(moment - frame * S // RATE) == "2026-05-01T00:00:01.000Z"


def test_a_dry_run_shows_the_same_and_writes_nothing(
    made: MadeState, capsys: pytest.CaptureFixture[str]
) -> None:
    made.ledger.close()
    before = {path: path.read_bytes() for path in made.path.rglob("*.sqlite")}
    with hold(made.path):  # a look disturbs no recorder
        assert retime(made.path, "--offset", "5", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert {path: path.read_bytes() for path in made.path.rglob("*.sqlite")} == before
    assert retime(made.path, "--offset", "5") == 0
    assert capsys.readouterr().out == shown
    assert len(shown.splitlines()) == 2


def test_effort_that_is_there_is_made_anew(made: MadeState) -> None:
    (made.path / "deployment.toml").write_text('deployment_id = "here"\n')
    (made.path / "effort.csv").write_text("old")
    assert retime(made.path, "--offset", "-3600", "--boot", "3") == 0
    text = (made.path / "effort.csv").read_text()
    assert "here,3,0,,2023-11-14T22:13:30.000Z,2023-11-14T23:00:00.000Z,manual," in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--offset", "nan"], "expected less"),
        (["--offset", "1e300"], "expected less"),
        (["--offset", "-1000000000"], "from 1970 to 2261"),
        (["--offset", "1", "--boot", "9"], "boot 9: nothing"),
        (["--anchor", "1:0=2026-05-01T00:00:00"], "with Z or an offset"),
        (["--anchor", "1:0=9999-12-31T23:59:59-23:00"], "expected a time from 1970 to 2261"),
        (["--anchor", "1:0"], "expected the name"),
        (["--anchor", f"{10**19}:0=2026-05-01T00:00:00Z"], "expected the name"),
        (["--anchor", f"00001-000001-000000000000_x.wav+{10**400}=2026-05-01T00:00:00Z"],
         "expected the name"),
        (["--anchor", "=2026-05-01T00:00:00Z"], "expected the name"),
        (["--anchor", "9:0=2026-05-01T00:00:00Z"], "not in the recording"),
        (["--anchor", f"1:{DAY * RATE + 1}=2026-05-01T00:00:00Z"], "not in the recording"),
        (["--anchor", "00001-000009-000000000000_unset.wav=2026-05-01T00:00:00Z"], "not in the"),
        (["--anchor", "1:0=2026-05-01T00:00:00Z", "--boot", "1"], "--boot goes with"),
        (["--anchor", "1:0=2026-05-01T00:00:00Z", "--anchor", "1:0=2026-05-01T00:00:00Z"], "wrong"),
        (["--anchor", "1:0=2026-05-01T00:00:00Z", "--anchor", "1:60000=2026-05-01T00:02:00Z"],
         "60.000 s passed between"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_nothing_changes(
    made: MadeState, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    assert retime(made.path, *arguments) == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == said.count("hint: ") == 1
    assert word in said
    assert utc(made.path, 1, 0) == (10 * S, "unset")


def test_only_trusted_boots_leave_nothing_to_correct(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeState(tmp_path)
    made.reboot()
    made.anchor(0, T0, "ntp")
    made.segment(made.stream(opened_ns=0), 0, 10)
    assert retime(tmp_path, "--offset", "1") == 1
    assert "--boot" in capsys.readouterr().err


def test_a_folder_without_a_recording_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retime(tmp_path, "--offset", "1") == 1
    assert retime(tmp_path / "none", "--offset", "1") == 1
    assert retime(tmp_path / "none", "--offset", "1", "--dry-run") == 1
    assert capsys.readouterr().err.count("error: ") == 3
    assert not list(tmp_path.iterdir())


def test_a_living_recorder_is_not_disturbed_and_a_killed_one_leaves_no_lock(
    made: MadeState, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edge_probe.lock import hold\n"
        "with hold(Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(made.path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        assert retime(made.path, "--offset", "1") == 1
        assert f"process {other.pid} is writing there" in capsys.readouterr().err
        assert utc(made.path, 1, 0) == (10 * S, "unset")
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    assert retime(made.path, "--offset", "1") == 0
    assert (made.path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path):  # noqa: PT012
        refused(hold(tmp_path), f"process {os.getpid()}")
        raise ZeroDivisionError
    with hold(tmp_path):
        pass


def test_a_full_disk_does_not_keep_the_lock_from_holding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with hold(tmp_path):
        pass
    monkeypatch.setattr(os, "pwrite", is_full)
    with hold(tmp_path):
        assert holder(tmp_path) == 0  # not the number that was left behind


def test_readers_refuse_a_newer_version_and_cannot_write(made: MadeState) -> None:
    path = made.path / "capture.sqlite"
    with pytest.raises(StateError, match="readonly"):
        read(path, lambda db: db.execute("DELETE FROM segment"), CAPTURE_VERSION)
    with pytest.raises(StateError, match="expected version 0 or older, found 1"):
        read(path, lambda _: None, 0)


def test_effort_is_made_anew_with_or_without_a_deployment(made: MadeState) -> None:
    assert main(["effort", str(made.path)]) == 0
    before = (made.path / "effort.csv").read_text()
    assert main(["retime", str(made.path), "--offset", "60"]) == 0
    assert (made.path / "effort.csv").read_text() != before


def test_a_replaced_file_is_whole_or_old(tmp_path: Path) -> None:
    path = tmp_path / "effort.csv"
    replace_file(path, b"old")
    (tmp_path / "effort.csv.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
