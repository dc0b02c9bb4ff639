"""Processes to be killed: forked from an interpreter that has everything loaded."""

import atexit
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from support.child import environment
from support.journal import Journal


class Job(Protocol):
    """What a victim does; it is sent to it as a pickle."""

    @property
    def journal(self) -> Path:
        """Where it says what it does; the first row says that it has begun."""

    def prepare(self) -> None:
        """Load what every life needs, in the process that victims are forked from."""

    def live(self) -> None:
        """Work until done or dead."""


class Victim:
    """A process that does a job; it begins within milliseconds."""

    def __init__(self, job: Job) -> None:
        self.journal = Journal(job.journal)
        self.pid = _nursery(type(job)).bear(job)
        self._fd = os.pidfd_open(self.pid)
        while not self.journal.has_begun:
            assert not self.wait(0.001), "it never began"

    def signal(self, number: int) -> None:
        """Send a signal to this process, whoever may have its number by now."""
        signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        assert not self.wait(0), "it came to its end before it was killed"
        self.signal(signal.SIGKILL)
        self.wait(None)
        os.close(self._fd)

    def end(self, timeout_s: float = 120) -> NDArray[np.int64]:
        """Wait for the end; all that was said."""
        assert self.wait(timeout_s), "it does not come to an end"
        os.close(self._fd)
        return self.journal.rows()

    def wait(self, timeout_s: float | None) -> bool:
        """Whether it comes to its end in this time."""
        return bool(select.select([self._fd], [], [], timeout_s)[0])


class _Nursery:
    """An interpreter that has everything loaded and forks a victim for each job it is given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from support import nursery; nursery.breed()"],
            env=environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        atexit.register(self._process.communicate)

    def bear(self, job: Job) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(pickle.dumps(job))
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@cache
def _nursery(_kind: type) -> _Nursery:
    """One for each kind of job: what another kind loads would only make forking slower."""
    return _Nursery()


def breed() -> None:
    """The nursery's side."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their exit codes
    with suppress(EOFError):
        while True:
            job = pickle.load(sys.stdin.buffer)
            job.prepare()
            if pid := os.fork():
                print(pid, flush=True)
                continue
            try:
                job.live()
            except BaseException:  # noqa: BLE001 - a child must never run on as its parent
                traceback.print_exc()
            finally:
                os._exit(0)
