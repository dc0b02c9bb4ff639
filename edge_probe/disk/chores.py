"""What is done about the disk besides recording, in a thread that nobody waits for."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.disk import transcode
from edge_probe.disk.encoder import Abandoned, Encoder
from edge_probe.disk.findings import Findings
from edge_probe.disk.privacy import Privacy
from edge_probe.disk.transcode import Transcoder
from edge_probe.errors import EdgeProbeError

_log = logging.getLogger(__name__)

PERIOD_S = 5.0


class Chores(threading.Thread):
    """Privacy first, then FLAC; a failure is said once and tried again.

    Parameters
    ----------
    state : Path
        State folder; its ledger exists.
    margin_s : float or None
        Around what is private; None: no class is private.
    flac : bool
        Whether closed segments become FLAC.
    is_busy : callable, optional
        Whether FLAC has to wait: the load, or that and whether the classifier is behind.
    """

    def __init__(
        self,
        state: Path,
        *,
        margin_s: float | None,
        flac: bool,
        is_busy: Callable[[], bool] = transcode.is_loaded,
    ) -> None:
        super().__init__(name="chores", daemon=True)
        self._state = state
        self._audio = state / "audio"
        self._is_busy = is_busy
        self._ended = threading.Event()
        self._ledger: Ledger | None = None
        self._inode = 0
        self._complaint = ""
        self._findings = Findings(state / "detections.sqlite")
        self._encoder = Encoder()
        self._privacy: Privacy | None = None
        if margin_s is not None:
            self._privacy = Privacy(
                self._audio, self._findings, self._encoder, margin_s, self._ended.is_set
            )
        self._transcoder: Transcoder | None = None
        if flac:
            self._transcoder = Transcoder(self._audio, self._encoder, self._has_no_time)

    def run(self) -> None:
        """Work until `end` is called."""
        while not self._ended.is_set():
            if not self.step():
                self._ended.wait(PERIOD_S)
        self.close()

    def end(self) -> None:
        """Let the thread end, within a fraction of a second; encoding is given up."""
        self._ended.set()

    def step(self) -> bool:
        """Do the next thing; whether there may be more right away."""
        try:
            done = self._work()
        except Abandoned:
            return False
        except (OSError, sqlite3.Error, EdgeProbeError) as error:
            if str(error) != self._complaint:
                _log.error("chores of the disk wait: %s", error)
            self._complaint = str(error)
            self.close()
            return False
        self._complaint = ""
        return done

    def close(self) -> None:
        """Let go of everything; `step` takes it up again."""
        self._encoder.stop()
        self._findings.close()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _work(self) -> bool:
        path = self._state / "capture.sqlite"
        if self._ledger is not None and path.stat().st_ino != self._inode:
            self.close()  # it was damaged, and begun anew
        if self._ledger is None:
            self._inode = path.stat().st_ino
            self._ledger = Ledger(path)
            transcode.repair(self._audio, self._ledger)
        settled = self._privacy.step(self._ledger) if self._privacy else None
        return bool(self._transcoder and self._transcoder.step(self._ledger, settled))

    def _has_no_time(self) -> bool:
        return self._ended.is_set() or self._is_busy()
