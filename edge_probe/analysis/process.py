"""The classifier as a process of its own, from its start to the signal that ends it."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from edge_probe.analysis.listener import Tools
from edge_probe.analysis.recording import Recording
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.clock import Clock, SystemClock
from edge_probe.encoder import Profile
from edge_probe.interrupt import until_interrupted
from edge_probe.lock import CLASSIFIER_LOCK, hold

_log = logging.getLogger(__name__)

_POLL_S = 1.0


def run_worker(
    state: Path,
    bundle_path: Path,
    profile: Profile = "low-memory",
    *,
    backlog_s: float,
    rules: Rules | None = None,
    beat_fd: int | None = None,
    forgive: bool = False,
    clock: Clock | None = None,
) -> None:
    """Classify what a recorder keeps, until SIGTERM or Ctrl-C; the chunk in hand is finished.

    Parameters
    ----------
    state : Path
        State folder.
    bundle_path : Path
    profile : "low-memory" or "fast"
    backlog_s : float
        Seconds of audio that may wait, the newest segment apart; of more, the oldest whole
        windows are skipped.
    rules : Rules, optional
        Species list and private classes.
    beat_fd : int, optional
        Pipe to the supervisor: a byte for every sign of life. When nobody reads it any more, the
        worker ends.
    forgive : bool
        Nobody saw how the worker before ended: it may have been stopped, or the power cut.
    clock : Clock, optional

    Raises
    ------
    StateError
        Another classifier is at work here, or the state cannot be used.
    BundleError, EncoderError
        Bundle or encoder are no good.
    """
    rules, pulse = rules or Rules(), Pulse(beat_fd)
    with hold(state, CLASSIFIER_LOCK):
        bundle = open_bundle(bundle_path)
        for warning in bundle.warnings:
            _log.warning("%s", warning)
        rules.check(bundle.labels)
        tools = Tools(ChunkAnalyser(bundle, profile), Recording(state), rules)
        store = Store(state / "detections.sqlite", bundle, pulse)
        worker = Worker(
            tools, store, backlog_s=backlog_s, clock=clock or SystemClock(), is_wanted=pulse
        )
        if forgive:
            worker.forgive()
        for _ in until_interrupted(_moments(worker)):
            if not pulse():
                _log.warning("the recorder is gone: ending")
                break
            worker.step()
        worker.rest()
        store.close()
        tools.recording.close()


class Pulse:
    """Signs of life into a pipe.

    Parameters
    ----------
    fd : int or None
        Write end of the pipe; None: nobody wants them.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        if fd is not None:
            os.set_blocking(fd, False)

    def __call__(self) -> bool:
        """Give one; False if nobody will ever read it."""
        if self._fd is None:
            return True
        try:
            os.write(self._fd, b".")
        except BlockingIOError:  # a recorder that does not look for a while has enough of them
            return True
        except BrokenPipeError:
            return False
        return True


def _moments(worker: Worker) -> Iterator[None]:
    """When to do the next step: at once, or after a rest where there was nothing to do."""
    while True:
        yield
        if worker.is_idle:
            sleep(_POLL_S)
