"""The classifier as a process of its own, from its start to the signal that ends it.

Either a recorder started it (``beat_fd``, see `edge_probe.analysis.supervise`), or systemd did, as
a service beside the recorder's.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import sleep

from edge_probe.alive.duration import text_of
from edge_probe.alive.notify import Notifier
from edge_probe.analysis.backlog import behind_s
from edge_probe.analysis.gate import GateOptions
from edge_probe.analysis.listener import Tools
from edge_probe.analysis.recording import Recording
from edge_probe.analysis.rules import Rules
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import Worker
from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.clock import Clock, SystemClock
from edge_probe.disk.sample import Design
from edge_probe.encoder import Profile
from edge_probe.errors import EdgeProbeError
from edge_probe.interrupt import until_interrupted
from edge_probe.lock import CLASSIFIER_LOCK, hold

_log = logging.getLogger(__name__)

_POLL_S = 1.0

TELL_S = 30.0
"""Between two words to systemd on how far behind it is."""

FIRST_MARK = "started"
"""In the runtime folder of a service: one before this process was started, and seen to end."""


def run_worker(
    state: Path,
    bundle_path: Path,
    profile: Profile = "low-memory",
    *,
    backlog_s: float,
    rules: Rules | None = None,
    design: Design | None = None,
    gate: GateOptions | None = None,
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
    design : Design, optional
        Of the recorder's samples: scores of what they draw are kept.
    gate : GateOptions, optional
        Chunks in which all is quiet are not encoded.
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
    EdgeProbeError
        The gate listens where the encoder does not.
    """
    rules, clock = rules or Rules(), clock or SystemClock()
    # A recorder's own child says nothing to systemd: that is the recorder's to do.
    environ = os.environ if beat_fd is None else {}
    with Notifier(environ, clock) as notifier, hold(state, CLASSIFIER_LOCK):
        pulse, service = Pulse(beat_fd, notifier), _Service(environ, notifier, clock)
        bundle = open_bundle(bundle_path)
        for warning in bundle.warnings:
            _log.warning("%s", warning)
        rules.check(bundle.labels)
        if gate is not None:
            gate.check(bundle.encoder.sample_rate_hz)
        tools = Tools(ChunkAnalyser(bundle, profile), Recording(state), rules, design, gate)
        notifier.ready()
        store = Store(state / "detections.sqlite", bundle, pulse)
        worker = Worker(tools, store, backlog_s=backlog_s, clock=clock, is_wanted=pulse)
        if forgive or service.is_first():
            worker.forgive()
        service.has_begun()
        for _ in until_interrupted(_moments(worker)):
            if not pulse():
                _log.warning("the recorder is gone: ending")
                break
            service.tell(state, bundle.id)
            worker.step()
        notifier.stopping()
        worker.rest()
        store.close()
        tools.recording.close()


class _Service:
    """What a classifier has to do with systemd besides signs of life; without it, nothing.

    Parameters
    ----------
    environ : mapping
        Of the process: ``RUNTIME_DIRECTORY``, a folder that systemd keeps over restarts, and
        that goes with a stop or with the power (``RuntimeDirectoryPreserve=restart``,
        systemd.exec(5)).
    notifier : Notifier
    clock : Clock
    """

    def __init__(self, environ: Mapping[str, str], notifier: Notifier, clock: Clock) -> None:
        folder = environ.get("RUNTIME_DIRECTORY")
        self._mark = Path(folder) / FIRST_MARK if folder else None
        self._is_heard = "NOTIFY_SOCKET" in environ
        self._notifier, self._clock = notifier, clock
        self._tell_ns = 0

    def is_first(self) -> bool:
        """Whether nobody saw how the process before ended: it was stopped, or the power cut."""
        return self._mark is not None and not self._mark.exists()

    def has_begun(self) -> None:
        """From now on an end without `is_first` is a crash that systemd saw."""
        if self._mark is not None:
            self._mark.touch()

    def tell(self, state: Path, bundle_id: str) -> None:
        """How far behind it is, now and then."""
        now_ns = self._clock.monotonic_ns()
        if not self._is_heard or now_ns < self._tell_ns:
            return
        self._tell_ns = now_ns + round(TELL_S * 1e9)
        try:
            self._notifier.status(f"{bundle_id}: {text_of(behind_s(state))} behind")
        except (OSError, sqlite3.Error, EdgeProbeError) as error:
            _log.debug("how far it is behind cannot be told: %s", error)


class Pulse:
    """Signs of life, to the recorder or to systemd.

    Parameters
    ----------
    fd : int or None
        Write end of a pipe to the recorder; None: it does not want them.
    notifier : Notifier
    """

    def __init__(self, fd: int | None, notifier: Notifier) -> None:
        self._fd = fd
        self._notifier = notifier
        if fd is not None:
            os.set_blocking(fd, False)

    def __call__(self) -> bool:
        """Give one; False if nobody will ever read it."""
        self._notifier.feed()
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
