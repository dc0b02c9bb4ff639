"""``edge-probe run`` in a process of its own, on a virtual microphone."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from support.virtual_microphone import VirtualMicrophone


class LiveRecorder:
    """Records from its making until `stop`, or the end of a ``with``; 4 s segments.

    Parameters
    ----------
    microphone : VirtualMicrophone
    state : Path
        State folder; the log is beside it.
    rate_hz : int
    options : sequence of str
        More of them.
    before : sequence of str
        A program that runs it, and its arguments.
    program : sequence of str
        What Python is to run.
    """

    def __init__(
        self, microphone: VirtualMicrophone, state: Path, rate_hz: int,
        options: Sequence[str] = (), before: Sequence[str] = (),
        program: Sequence[str] = ("-m", "edge_probe"),
    ) -> None:  # fmt: skip
        self.state, self._before = state, before
        self.log = state.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, *program, "run", str(state), "--device",
                 microphone.name, "--rate", str(rate_hz), "--segment", "4", *options],
                env=microphone.environment, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """A test that failed leaves nothing running."""
        if self.process.poll() is None:
            os.kill(self._pid, signal.SIGKILL)
            self.process.wait()

    @property
    def _pid(self) -> int:
        """The recorder's, not that of what runs it."""
        return int(children(self.process.pid)[0]) if self._before else self.process.pid

    def said(self, text: str) -> int:
        """How often the log says so."""
        return self.log.read_text().count(text)

    def wait_for(self, text: str, times: int = 1, limit_s: float = 20) -> float:
        """Until the log has said so so often; returns the seconds it takes."""
        begin = time.monotonic()
        while self.said(text) < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < begin + limit_s, f"no {text!r} in: {self.log.read_text()}"
            time.sleep(0.05)
        return time.monotonic() - begin

    def stop(self) -> float:
        """SIGTERM; returns the seconds it takes."""
        begin = time.monotonic()
        os.kill(self._pid, signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self.log.read_text()
        return time.monotonic() - begin

    @property
    def rss_anon_kib(self) -> int:
        return self._of_status("RssAnon")

    @property
    def n_threads(self) -> int:
        return self._of_status("Threads")

    @property
    def n_descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _of_status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text)[1])  # type: ignore[index]


def children(pid: int) -> list[str]:
    """Processes a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
