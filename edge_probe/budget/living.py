"""Memory and writes of a whole recorder, measured while it lives. Linux only."""

import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from edge_probe.budget.pages import Pages, family, pages_of
from edge_probe.errors import EdgeProbeError

SCRATCH = Path("/var/tmp")  # noqa: S108 - on the disk, where /tmp may be memory
N_CHUNKS = 4
"""Classified before the recorder counts as being at work."""

MAX_START_S = 300.0
"""Until it is."""

_LOOK_S = 0.5
_STOP_S = 20.0


@dataclass(slots=True)
class Living:
    """What a recorder took at most, in bytes."""

    recorder_bytes: int = 0
    """Anonymous memory of process A."""
    classifier_bytes: int = 0
    """Of process B, the peak of its start included."""
    helpers_bytes: int = 0
    """Of the processes that A starts when it has time."""
    file_bytes: int = 0
    """Code and mapped weights of all of them, each page once."""
    written_bytes: int = 0
    """By A and B to the disk while it was watched, without the journal of the file system."""
    audio_bytes: int = 0
    """Recorded while it was watched."""

    @property
    def total_bytes(self) -> int:
        """All of ours."""
        anonymous = self.recorder_bytes + self.classifier_bytes + self.helpers_bytes
        return anonymous + self.file_bytes


def live(bundle: Path, rate_hz: int, segment_s: float, watch_s: float) -> Living:
    """Record noise into a folder of its own and look at the processes while all are at work.

    Parameters
    ----------
    bundle : Path
    rate_hz : int
        Of the made-up microphone; one channel, 16 bits.
    segment_s : float
    watch_s : float
        From when the first chunks were classified and the first segment was encoded.

    Raises
    ------
    EdgeProbeError
        The recorder ended, or did not come so far in time.
    """
    with tempfile.TemporaryDirectory(prefix="edge-probe-bench-", dir=SCRATCH) as folder:
        state = Path(folder) / "state"
        state.mkdir()
        with _station(state, bundle, rate_hz, segment_s) as station:
            _wait(station, state, MAX_START_S + segment_s)
            before, most = Living(), Living()
            _look(station.pid, before)
            audio_bytes, deadline = _audio_bytes(state), monotonic() + watch_s
            while monotonic() < deadline:
                sleep(_LOOK_S)
                _check(station)
                _look(station.pid, most)
            most.written_bytes -= before.written_bytes
            most.audio_bytes = _audio_bytes(state) - audio_bytes
    return most


@contextmanager
def _station(
    state: Path, bundle: Path, rate_hz: int, segment_s: float
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "edge_probe.budget.noise_station", str(state),
               str(bundle.resolve()), str(rate_hz), str(segment_s)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as station:
        try:
            yield station
        finally:
            station.send_signal(signal.SIGTERM)
            try:
                station.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                station.kill()


def _wait(station: "subprocess.Popen[bytes]", state: Path, timeout_s: float) -> None:
    """Until all are at work: the process that checks the signature has ended by then."""
    deadline = monotonic() + timeout_s
    while not _has_worked(state):
        _check(station)
        if monotonic() > deadline:
            raise EdgeProbeError(
                f"the recorder did not classify {N_CHUNKS} chunks within {timeout_s:.0f} s",
                hint="is the machine busy? or it is too slow for this bundle",
            )
        sleep(_LOOK_S)


def _check(station: "subprocess.Popen[bytes]") -> None:
    if station.poll() is not None:
        raise EdgeProbeError(
            f"the recorder ended with status {station.returncode}",
            hint="its log stands above; edge-probe selftest checks the bundle",
        )


def _audio_bytes(state: Path) -> int:
    return sum(path.stat().st_size for path in (state / "audio").iterdir())


def _has_worked(state: Path) -> bool:
    """Whether classifier and FLAC have done what they do."""
    if not (state / "trial.flac").exists() or not (state / "detections.sqlite").exists():
        return False
    with suppress(sqlite3.OperationalError):  # its tables are being made
        uri = f"file:{state / 'detections.sqlite'}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as db:
            (n_done,) = db.execute("SELECT count(*) FROM chunk WHERE state = 'done'").fetchone()
            return bool(n_done >= N_CHUNKS)
    return False


def _look(pid: int, most: Living) -> None:
    """Keep what is larger than before."""
    files, helpers_bytes, written_bytes = Pages(), 0, 0
    for member, command in family(pid).items():
        with suppress(ProcessLookupError):
            pages = pages_of(member)
            n_bytes = pages.anonymous_bytes
            files.add(pages)
            if member == pid:
                most.recorder_bytes = max(most.recorder_bytes, n_bytes)
                written_bytes += _written_bytes(member)
            elif "--only classify" in command:
                peak = n_bytes + _peak_extra(member)
                most.classifier_bytes = max(most.classifier_bytes, peak)
                written_bytes += _written_bytes(member)
            else:
                helpers_bytes += n_bytes
    most.helpers_bytes = max(most.helpers_bytes, helpers_bytes)
    most.file_bytes = max(most.file_bytes, files.file_bytes)
    most.written_bytes = max(most.written_bytes, written_bytes)


def _written_bytes(pid: int) -> int:
    return _number(pid, "io", "write_bytes:")


def _peak_extra(pid: int) -> int:
    """What a process had at its peak more than now."""
    return 1024 * max(0, _number(pid, "status", "VmHWM:") - _number(pid, "status", "VmRSS:"))


def _number(pid: int, name: str, field_name: str) -> int:
    path = Path("/proc") / str(pid) / name
    try:
        rows = path.read_text(errors="replace").splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return next((int(row.split()[1]) for row in rows if row.startswith(field_name)), 0)
