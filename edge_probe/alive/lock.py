"""Whether a recorder lives in a state folder: it holds ``flock`` on ``lock``, its number inside."""

import os
from pathlib import Path


def holder(state: Path) -> int | None:
    """Process id of the recorder that lives in a state folder, or None.

    The kernel lets go of a lock when its process is gone, however it went, so neither a number
    that was left behind nor one that was given to another process deceives. Nothing is written;
    for an instant the lock is held shared. A recorder that has not told its number yet is 0.

    Parameters
    ----------
    state : Path
        State folder.
    """
    try:
        import fcntl  # where there is none, no recorder runs, but a card may be looked at
    except ImportError:
        return None
    try:
        fd = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(fd, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)
    return None
