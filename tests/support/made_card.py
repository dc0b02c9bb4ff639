"""Cards of recorders in the field: real audio, ledger and detections, pulled out at any moment."""

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import numpy as np

from edge_probe.classify import ChunkAnalyser
from edge_probe.spec import WindowSpec

from .analysed_state import SoundCard, small_bundle, work_off, worker_on

KEYS = {
    "boot": "kernel_id",
    "stream": "boot, stream, rate_hz",
    "segment": "stream, first_frame, n_frames, name",
    "gap": "stream, first_frame, n_frames, cause",
    "clock_anchor": "boot, monotonic_ns, trust, utc_ns",
}
HEARD_KEYS = {
    "bundle": "sha256",
    "chunk": "stream, run_frame, n, channel, first_frame, n_frames, state",
    "detection": "detection, stream, n, channel, label, first_frame, n_frames, logit",
    "score_cache": "stream, run_frame, first_n, channel, score, best",
    "chunk_scores": "stream, run_frame, n, channel, steps, scores",
}

Rows = dict[str, list[tuple]]


def card_analyser(folder: Path) -> ChunkAnalyser:
    """A bundle that hears something every few chunks."""
    return ChunkAnalyser(small_bundle(folder, WindowSpec(2, 1, 0.03)))


class FieldRecorder:
    """A recorder that can be looked at, and whose card can be pulled out, between two calls.

    Parameters
    ----------
    state : Path
        Its state folder.
    analyser : ChunkAnalyser
    seed : int
        Another one is another recorder.
    deployment_id : str
        Empty: nobody gave it one.
    segment_s : float
    """

    def __init__(
        self, state: Path, analyser: ChunkAnalyser, seed: int, deployment_id: str = "",
        segment_s: float = 0.5,
    ) -> None:  # fmt: skip
        self.state, self._analyser = state, analyser
        self._random = np.random.default_rng(seed)
        state.mkdir(parents=True)
        if deployment_id:
            (state / "deployment.toml").write_text(
                f'deployment_id = "{deployment_id}"\nlatitude = 47.5\nlongitude = 8.5\n'
            )
        self.card = SoundCard(state, segment_s=segment_s)
        self.reboot()
        self.worker = worker_on(state, analyser)

    def reboot(self) -> None:
        """What comes next is of another boot."""
        self.card.clock.kernel_id = str(UUID(bytes=self._random.bytes(16)))

    def record(self, n_frames: int = 1300, lost: int = 300) -> None:
        """A stream: noise, a gap, noise; all of it is heard."""
        self.card.noise(n_frames, int(self._random.integers(2**31)))
        self.card.lose(lost)
        self.card.noise(n_frames, int(self._random.integers(2**31)))
        self.card.end()
        work_off(self.worker)

    def pull(self, to: Path) -> Path:
        """The card as a power cut leaves it: databases with their ``-wal``, no ``-shm``."""
        shutil.copytree(self.state, to, ignore=shutil.ignore_patterns("*-shm", "lock"))
        return to


def committed(state: Path, scratch: Path) -> Rows:
    """All that is committed in a card, read from a copy by SQLite itself.

    Parameters
    ----------
    state : Path
        Nobody writes there.
    scratch : Path
        Made and removed again.
    """
    shutil.copytree(state, scratch, ignore=shutil.ignore_patterns("audio", "*-shm"))
    found: Rows = {}
    for name, keys in (("capture.sqlite", KEYS), ("detections.sqlite", HEARD_KEYS)):
        if not (scratch / name).exists():
            continue
        with closing(sqlite3.connect(scratch / name)) as db:
            for table, columns in keys.items():
                found[table] = sorted(db.execute(f"SELECT {columns} FROM {table}"), key=repr)
    shutil.rmtree(scratch)
    return found


def fingerprint(folder: Path) -> dict[str, tuple]:
    """Content and times of everything in a folder, itself included."""
    found: dict[str, tuple] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        before = path.stat()
        told = ""
        if path.is_file():
            fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
            with os.fdopen(fd, "rb") as file:
                told = hashlib.sha256(file.read()).hexdigest()
        times = before.st_mtime_ns, before.st_atime_ns, before.st_ctime_ns
        found[str(path.relative_to(folder))] = (told, before.st_size, before.st_mode, *times)
    return found
