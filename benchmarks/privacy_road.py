"""Scenes through the recorder: ring, segments, classifier process, privacy, and what is left.

Everything between the sound card and the disk is what runs on the device; only the card and its
clock are virtual, so that an hour takes seconds.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from speech import RATE_HZ

from edge_probe.capture.segment import Format
from edge_probe.capture.store import Store
from edge_probe.capture.writer import Writer
from edge_probe.disk import rows
from edge_probe.disk.chores import Chores
from edge_probe.disk.findings import Findings
from edge_probe.source.ring import Ring
from edge_probe.source.wav import HEADER_BYTES

FORMAT = Format(RATE_HZ, 1, 2)
SEGMENT_S = 25
"""Shorter than a scene: margins reach across segments."""

_BLOCK = 2205
_AFTERWARDS_S = 5
_LIMIT_S = 1800

Pcm = NDArray[np.int16]


class CardClock:
    """Moves with the sound that is played.

    Parameters
    ----------
    rate_hz : int
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._now_ns = 10**9

    def move(self, n_frames: int) -> None:
        """Let as much time pass."""
        self._now_ns += round(n_frames / self._rate_hz * 1e9)

    def monotonic_ns(self) -> int:
        """Since the first moment."""
        return self._now_ns

    def utc_ns(self) -> int:
        """Some day."""
        return 1_700_000_000 * 10**9 + self._now_ns

    def trust(self) -> str:
        """Nobody needs it here."""
        return "unset"

    def boot(self) -> str:
        """Always the same."""
        return "benchmark"


def record(state: Path, scenes: Sequence[Pcm], form: Format = FORMAT) -> None:
    """Record scenes, a stream each, and some seconds more: a recorder goes on."""
    clock = CardClock(form.rate_hz)
    for pcm in (*scenes, scenes[0][: _AFTERWARDS_S * form.rate_hz]):
        ring = Ring(40 * form.rate_hz, form.frame_bytes)
        writer = Writer(
            ring, form, "virtual", segment_s=SEGMENT_S,
            open_store=lambda safe: Store(state, clock, safe), clock=clock,
        )  # fmt: skip
        for at in range(0, len(pcm), _BLOCK):
            block = pcm[at : at + _BLOCK]
            clock.move(len(block))
            ring.push(block.astype("<i2").tobytes(), clock.monotonic_ns())
            if not writer.step():
                raise SystemExit(f"{state}: the disk fails")
        if not writer.end("schedule"):
            raise SystemExit(f"{state}: the disk fails")
        clock.move(form.rate_hz)


def classify(state: Path, bundle: Path, label: str | None = None) -> None:
    """Let the recorder's classifier process hear it all, a class of it private."""
    command = [sys.executable, "-m", "edge_probe", "run", state, "--only", "classify", "--bundle",
               bundle, "--backlog", "1e9"]  # fmt: skip
    if label is not None:
        command += ["--private", label]
    end = _last_scene(state)
    findings = Findings(state / "detections.sqlite")
    deadline = time.monotonic() + _LIMIT_S
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not _has_said_all(findings, *end):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise SystemExit(f"the classifier failed: {process.communicate()[1]}")
            time.sleep(0.2)
        process.terminate()
        process.communicate()
    findings.close()


def silence(state: Path, margin_s: float) -> None:
    """Let the chores of the disk overwrite what is private."""
    chores = Chores(state, margin_s=margin_s, flac=False)
    chores.step()
    chores.close()
    with closing(_ledger(state)) as db:
        if rows.progress(db, "privacy")[0] < _last_scene(state)[0]:
            raise SystemExit(f"{state}: the recorder did not come to the end of what is private")


def kept(state: Path, scenes: Sequence[Pcm]) -> list[NDArray[np.bool_]]:
    """Which samples of each scene the segments still hold.

    Raises
    ------
    SystemExit
        A segment holds anything but what was played and, where the ledger says private, zeros.
    """
    found = []
    with closing(_ledger(state)) as db:
        for stream, played in enumerate(scenes, 1):
            is_kept = np.ones(len(played), bool)
            pieces = db.execute(
                "SELECT first_frame, n_frames FROM privacy WHERE stream = ?", (stream,)
            )
            for first, n_frames in pieces:
                is_kept[first : first + n_frames] = False
            segments = rows.segments_between(db, stream, 0, len(played))
            stored = [
                np.fromfile(state / "audio" / segment.name, "<i2", offset=HEADER_BYTES)
                for segment in segments
            ]
            if not np.array_equal(np.concatenate(stored), np.where(is_kept, played, 0)):
                raise SystemExit(f"{state}: stream {stream} is not what was played")
            found.append(is_kept)
    return found


def _has_said_all(findings: Findings, stream: int, frame: int) -> bool:
    try:
        return findings.is_classified(stream, frame)
    except sqlite3.OperationalError:  # its tables are about to be made
        return False


def _last_scene(state: Path) -> tuple[int, int]:
    """Its stream, and behind its last frame."""
    with closing(_ledger(state)) as db:
        found: tuple[int, int] = db.execute(
            "SELECT stream, max(first_frame + n_frames) FROM segment"
            " WHERE stream = (SELECT max(stream) - 1 FROM stream)"
        ).fetchone()
    return found


def _ledger(state: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{(state / 'capture.sqlite').absolute().as_uri()}?mode=ro", uri=True)
