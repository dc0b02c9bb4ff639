"""The classifier's unit without systemd: starts it, and starts it again when it ends.

``classifier_unit.py FOLDER STATE TRUST`` is ``systemctl restart``: FOLDER holds ``NRestarts`` and
the ``pid`` of the process that looks after the classifier. A file ``ends`` there makes every
classifier end at once.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from edge_probe.analysis.process import run_worker
from edge_probe.bundle import trust

RESTART_S = 0.2


def stop(folder: Path) -> None:
    """End it, with the classifier; an end that was asked for is none that counts."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((folder / "pid").read_text())
        os.killpg(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}/stat").exists() and _state(pid) != "Z":
            time.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def look_after(folder: Path, state: Path, store: Path) -> None:
    """For ever."""
    command = [sys.executable, __file__, "classify", str(state), str(store), str(folder)]
    n_restarts = 0
    while (state / "slots/current/manifest.json").exists():  # ConditionPathExists
        subprocess.run(command, check=False)
        n_restarts += 1
        part = folder / "NRestarts.new"
        part.write_text(f"{n_restarts}\n")
        part.replace(folder / "NRestarts")
        time.sleep(RESTART_S)


def classify(state: Path, store: Path, folder: Path) -> None:
    """The classifier, as `edge-probe run` starts it, with the trust store of this device."""
    if (folder / "ends").exists():
        sys.exit("it ends")
    trust.STORE = store
    run_worker(state, state / "slots/current", backlog_s=1e9)


def main() -> None:
    if sys.argv[1] == "classify":
        classify(*map(Path, sys.argv[2:]))
        return
    folder, state, store = map(Path, sys.argv[1:])
    stop(folder)
    (folder / "NRestarts").write_text("0\n")
    if os.fork():
        return
    os.setsid()
    (folder / "pid").write_text(str(os.getpid()))
    with (folder / "log").open("ab") as log:
        for fd in (1, 2):
            os.dup2(log.fileno(), fd)
    look_after(folder, state, store)


if __name__ == "__main__":
    main()
