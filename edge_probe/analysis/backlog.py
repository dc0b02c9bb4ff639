"""How far the classifier is behind, for whoever wants to know; light enough for the recorder."""

from pathlib import Path

from edge_probe.analysis.recording import Recording
from edge_probe.database import open_to_read


def behind_s(state: Path) -> float:
    """Seconds of audio in closed segments that are neither classified nor left out.

    Parameters
    ----------
    state : Path
        State folder.

    Raises
    ------
    sqlite3.Error
        The disk fails.
    """
    recording = Recording(state)
    try:
        return recording.waiting_s(*_place(state / "detections.sqlite"))
    finally:
        recording.close()


def _place(path: Path) -> tuple[int, int]:
    """Stream and frame behind the last chunk that has a result, of the bundle on duty."""
    if not path.exists():
        return 0, 0
    db = open_to_read(path)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:  # its tables are about to be made
            return 0, 0
        found = db.execute(_LAST_DONE).fetchone() or db.execute(_DUTY_BEGAN).fetchone()
    finally:
        db.close()
    return found or (0, 0)


_LAST_DONE = """
SELECT stream, first_frame + n_frames FROM chunk
WHERE bundle = (SELECT bundle FROM duty ORDER BY duty DESC LIMIT 1) AND state != 'tried'
ORDER BY stream DESC, run_frame DESC, n DESC LIMIT 1
"""
_DUTY_BEGAN = "SELECT stream, first_frame FROM duty ORDER BY duty DESC LIMIT 1"
