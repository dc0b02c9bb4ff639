"""A station in a process of its own (`station.py`) and its classifier, seen from outside."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.analysed_state import rows
from support.child import environment

from export.encoders.memory_group import MemoryGroup

PROGRAM = Path(__file__).with_name("station.py")
LOOK_S = 0.5


class Field:
    """Records and classifies within the context, until `stop`.

    Parameters
    ----------
    folder : Path
        For the state folder and the log.
    bundle : Path
    hang_s : float
        Silence of the classifier that counts as hung.
    backlog_s : float
        As of `edge_probe.analysis.process.run_worker`.
    group : MemoryGroup, optional
        That it lives in.
    """

    def __init__(
        self, folder: Path, bundle: Path, *, hang_s: float = 1e6, backlog_s: float = 1e6,
        group: MemoryGroup | None = None,
    ) -> None:  # fmt: skip
        self.state = folder / "state"
        self.state.mkdir()
        self._log = folder / "log"
        command = [sys.executable, PROGRAM, self.state, bundle, hang_s, backlog_s]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(word) for word in command], env=environment(), text=True,
                stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            )  # fmt: skip
        if group is not None:
            group.join(self._process.pid)
        self._proc = Path(f"/proc/{self._process.pid}")
        self._rss_kib = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.signal_classifier(signal.SIGKILL)  # alone it would end by itself, unless stopped
            self._process.kill()
        self._process.communicate()

    def stop(self) -> int:
        """SIGTERM; returns how many frames the microphone gave."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=300)
        assert self._process.returncode == 0, self.log
        return int(said)

    def end_stream_s(self, limit_s: float = 30) -> float:
        """SIGTERM; returns the seconds until the ledger says that the stream has ended."""
        begin = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        ledger = f"file:{self.state}/capture.sqlite?mode=ro"
        with closing(sqlite3.connect(ledger, uri=True)) as db:
            while not db.execute("SELECT * FROM gap WHERE cause = 'schedule'").fetchone():
                assert time.monotonic() < begin + limit_s, self.log
                time.sleep(0.01)
        return time.monotonic() - begin

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it said on standard error so far."""
        return self._log.read_text(encoding="utf-8")

    def n_chunks(self, where: str = "state != 'tried'") -> int:
        """Rows of chunks so far."""
        if not (self.state / "detections.sqlite").exists():
            return 0
        try:
            return int(rows(self.state, f"SELECT count(*) FROM chunk WHERE {where}")[0][0])
        except sqlite3.OperationalError:  # no tables yet
            return 0

    def until(self, done: Callable[[], bool], limit_s: float = 300) -> None:
        """Wait for something that is bound to happen."""
        end = time.monotonic() + limit_s
        while not done():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(LOOK_S)

    def until_it_works(self, n_more: int) -> None:
        """Until the classifier has done so many chunks more."""
        n_before = self.n_chunks()
        self.until(lambda: self.n_chunks() >= n_before + n_more)

    def until_all_is_told(self) -> None:
        """Until the status has told a detection, and once more: all it needs is in memory then."""
        self.until(lambda: self._status().get("last_detection") is not None)
        told_ns = self._status()["written_monotonic_ns"]
        self.until(lambda: self._status()["written_monotonic_ns"] != told_ns)

    def _status(self) -> dict[str, Any]:
        path = self.state / "status.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    def signal_classifier(self, number: int) -> bool:
        """Send it a signal; False if there is none at this moment."""
        children = self._proc / "task" / str(self._process.pid) / "children"
        for pid in map(int, children.read_text(encoding="ascii").split()):
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:  # the number is its own as long as this is open
                if b"--only\0classify" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    signal.pidfd_send_signal(fd, number)
                    return True
            except (FileNotFoundError, ProcessLookupError):
                continue
            finally:
                os.close(fd)
        return False

    def weigh_from_now_on(self) -> None:
        """Growth counts from here; the kernel forgets earlier peaks (proc(5), clear_refs)."""
        (self._proc / "clear_refs").write_text("5", encoding="ascii")
        self._rss_kib = self._memory_kib("VmRSS")

    def growth_kib(self) -> int:
        """Of the recorder's resident memory, at its peak."""
        return self._memory_kib("VmHWM") - self._rss_kib

    def _memory_kib(self, name: str) -> int:
        status = (self._proc / "status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1])
