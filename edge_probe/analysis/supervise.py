"""Keeps a classifier process alive from within the recorder; never waits, never raises. Linux only.

The recorder must stay small: nothing of the classifier is imported here.
"""

import logging
import os
import signal
import subprocess
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
MAX_WAIT_S = 60.0
MAX_CRASHES = 20
CRASHES_WITHIN_S = 600.0
RECORD_ONLY_S = 3600.0
STOP_S = 2.0
"""From SIGTERM to SIGKILL."""

NICENESS = 10
OOM_SCORE = 500
"""Of 1000: the kernel takes the classifier first when memory runs out (proc(5))."""


@dataclass(frozen=True, slots=True)
class ClassifierState:
    """What becomes of the classifier."""

    state: Literal["running", "waiting", "record-only", "not running"]
    """waiting: to be started soon; record-only: it crashed too often and rests for an hour; not
    running: a service of its own that does not."""
    n_restarts: int | None
    """None: somebody else counts them."""
    reason: str | None
    """Why it ended last."""


class Supervisor:
    """One child process, started again for ever.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; ``--beat-fd N`` is added, and ``--forgive`` for the first child (see
        `edge_probe.analysis.process`).
    hang_s : float
        Silence after which it counts as hung: longer than a start and the slowest chunk.
    """

    def __init__(self, command: Sequence[str], *, hang_s: float = 300.0) -> None:
        self._command = list(command)
        self._hang_ns = round(hang_s * 1e9)
        self._child: subprocess.Popen[bytes] | None = None
        self._beats = -1  # read end of the pipe
        self._beat_ns = self._next_ns = 0
        self._has_beaten = False
        self._is_hung = False
        self._saw_one_end = False
        self._wait_s = 0.0
        self._crashes_ns: deque[int] = deque()
        self._n_starts = 0
        self._rests_for: Literal["waiting", "record-only"] = "waiting"
        self._reason: str | None = None

    @property
    def state(self) -> ClassifierState:
        """For the status."""
        state = "running" if self._child is not None else self._rests_for
        return ClassifierState(state, max(0, self._n_starts - 1), self._reason)

    def poll(self, now_ns: int) -> None:
        """Look after it; to be called about once a second.

        Parameters
        ----------
        now_ns : int
            Monotonic time.
        """
        if self._child is None:
            if now_ns >= self._next_ns:
                self._start(now_ns)
            return
        code = self._child.poll()
        self._listen(self._beats, now_ns)
        if code is not None:
            reason = f"hung for {self._hang_ns // 10**9} s" if self._is_hung else _why(code)
            self._reap()
            self._saw_one_end = True
            self._crashed(now_ns, reason)
        elif now_ns - self._beat_ns > self._hang_ns:
            self._is_hung = True
            self._beat_ns = now_ns
            self._child.kill()  # its end is seen at one of the next looks

    def terminate(self) -> None:
        """Ask it to finish the chunk in hand and end."""
        if self._child is not None:
            self._child.terminate()

    def stop(self) -> None:
        """End it, by force after `STOP_S`; `poll` must not be called any more."""
        if self._child is None:
            return
        self.terminate()
        try:
            self._child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._reap()

    def _start(self, now_ns: int) -> None:
        self._n_starts += 1
        self._has_beaten = self._is_hung = False
        self._beat_ns = now_ns
        try:
            self._beats, beat = os.pipe()
        except OSError as error:
            self._crashed(now_ns, f"cannot be started: {error}")
            return
        os.set_blocking(self._beats, False)
        forgive = () if self._saw_one_end else ("--forgive",)
        command = [*self._command, *forgive, "--beat-fd", str(beat)]
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(beat,))
        except OSError as error:
            os.close(self._beats)
            self._crashed(now_ns, f"cannot be started: {error}")
        else:
            _step_back(self._child.pid)
        finally:
            os.close(beat)

    def _listen(self, beats: int, now_ns: int) -> None:
        """Take the signs of life that came since the last look."""
        try:
            came = os.read(beats, 1 << 16)
        except BlockingIOError:
            return
        if came:
            self._beat_ns, self._has_beaten = now_ns, True

    def _reap(self) -> None:
        os.close(self._beats)
        self._child = None

    def _crashed(self, now_ns: int, reason: str) -> None:
        """Decide when to start it again: soon if it worked, later and later if it never did."""
        self._reason = reason
        if self._has_beaten:
            self._wait_s = 0.0
            while self._crashes_ns and now_ns - self._crashes_ns[0] > CRASHES_WITHIN_S * 1e9:
                self._crashes_ns.popleft()
        self._wait_s = min(MAX_WAIT_S, 2 * self._wait_s or FIRST_WAIT_S)
        self._crashes_ns.append(now_ns)
        self._rests_for, rest_s = "waiting", self._wait_s
        if len(self._crashes_ns) >= MAX_CRASHES:
            self._rests_for, rest_s = "record-only", RECORD_ONLY_S
            self._crashes_ns.clear()
            self._wait_s = 0.0
        self._next_ns = now_ns + round(rest_s * 1e9)
        _log.error("classifier: %s; %s for %d s", reason, self._rests_for, rest_s)


def _why(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-code}"


def _step_back(pid: int) -> None:
    """Let everything else come first, for processor and memory."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
    except OSError as error:  # it is gone already: the next look sees it
        _log.warning("the classifier runs with the recorder's own priority: %s", error)
