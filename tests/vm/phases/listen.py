"""A boot in the forest: it comes up, records, and hears what a desk hears in the same file."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from vm.device import (
    CLASSIFIER,
    RECORDER,
    STATE,
    copy_state,
    errors_of_ours,
    look,
    n_chunks,
    n_recorded,
    shown,
    stop,
    wait_active,
    wait_classified,
    wait_for,
)
from vm.ledger import read_ledger
from vm.machine import Machine
from vm.parts import BUNDLE, RATE_HZ, Parts
from vm.syncs import first_durable_sample_s

LISTEN_S = 90

SCENE = "/var/lib/vm-sound/scene.wav"
"""Where `vm-sound.service` looks for it."""

_MEMORY = """
import json, pathlib
def kib(path, *names):
    rows = (line.split(":") for line in pathlib.Path(path).read_text().splitlines() if ":" in line)
    return {name: int(value.split()[0]) for name, value in rows if name in names}
ours = {}
for process in pathlib.Path("/proc").glob("[0-9]*"):
    words = (process / "cmdline").read_bytes().decode().split("\\0")
    if any(word.startswith("/opt/edge-probe/") for word in words[:2]):
        ours[" ".join(words).strip()] = kib(process / "smaps_rollup", "Pss", "Pss_Anon", "Pss_File")
print(json.dumps({"ours": ours, **kib("/proc/meminfo", "MemTotal", "MemAvailable")}))
"""


def run(machine: Machine, parts: Parts, folder: Path) -> dict[str, Any]:
    """The first boot; some minutes of recording, then a look at all of it."""
    agent = machine.start()
    agent.put(parts.scene, SCENE)
    agent.run(["systemctl", "start", "vm-sound.service"])
    networks = agent.text("ls /sys/class/net").split()
    wait_active(agent, RECORDER)
    ready = shown(agent, RECORDER, "ActiveEnterTimestampMonotonic")
    first_s = first_durable_sample_s(agent)
    wait_active(agent, CLASSIFIER)
    wait_for(f"{LISTEN_S} s of audio", lambda: n_recorded(look(agent)) > LISTEN_S * RATE_HZ)
    wait_for("chunks", lambda: n_chunks(look(agent)) > 20)
    memory = json.loads(agent.run(["python3", "-"], data=_MEMORY.encode()).stdout)
    status = agent.text(["edge-probe", "status", STATE, "--json"], timeout_s=120)
    units = {
        unit: shown(agent, unit, "ActiveState", "Type", "NRestarts", "MemoryCurrent", "MemoryPeak",
                    "MemoryMax", "WatchdogUSec")
        for unit in (RECORDER, CLASSIFIER)
    }  # fmt: skip
    sockets = agent.text("cat /proc/net/tcp* /proc/net/udp* | grep -vc local_address || true")
    agent.run(["systemctl", "stop", RECORDER], timeout_s=180)
    wait_classified(agent)
    stop(agent)
    state = folder / "state"
    copy_state(agent, state)
    ledger = read_ledger(state)
    return {
        "ready_s": int(ready["ActiveEnterTimestampMonotonic"]) / 1e6,
        "first_durable_sample_s": first_s,
        "units": units,
        "memory_kib": memory,
        "alarms": json.loads(status)["status"]["alarms"],
        "networks": networks,
        "n_network_sockets": int(sockets),
        "kernel": agent.text(["uname", "-rm"]).strip(),
        "systemd": agent.text(["systemctl", "--version"]).splitlines()[0],
        "warnings": errors_of_ours(agent),
        "recorded_s": ledger.recorded_s,
        "gaps": ledger.gaps,
        "ledger_problems": ledger.problems,
        "chunks": chunks(state),
        "runs": [compare(state, *place, folder) for place in gap_free(state)],
    }


def chunks(state: Path) -> dict[str, int]:
    """Chunks by state."""
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        return dict(db.execute("SELECT state, count(*) FROM chunk GROUP BY state"))


def gap_free(state: Path, least_s: float = 20.0) -> list[tuple[int, int]]:
    """Stream and first frame of the runs that are long enough and were classified whole."""
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        return db.execute(
            "SELECT stream, run_frame FROM chunk GROUP BY 1, 2"
            " HAVING sum(n_frames) >= ? AND min(state = 'done')",
            (round(least_s * RATE_HZ),),
        ).fetchall()


def compare(state: Path, stream: int, run_frame: int, folder: Path) -> dict[str, Any]:
    """Detections of the device in one run, beside those of this machine in the same samples."""
    samples = _samples(state, stream, run_frame)
    path = folder / f"run-{stream}-{run_frame}.wav"
    sf.write(path, samples, RATE_HZ, subtype="PCM_16")
    here = _classified_here(path)
    there = _classified_there(state, stream, run_frame)
    pairs = list(zip(there, here, strict=False))
    return {
        "stream": stream,
        "run_frame": run_frame,
        "seconds": len(samples) / RATE_HZ,
        "sound_rms": round(float(np.sqrt(np.mean(np.square(samples / 32768.0)))), 5),
        "detections_there": len(there),
        "detections_here": len(here),
        "labels": sorted({row["label"] for row in there}),
        "differ": [
            [there_row, here_row] for there_row, here_row in pairs
            if any(there_row[name] != here_row[name] for name in ("label", *TIMES))
        ],
        "worst_score": max((abs(a["score"] - b["score"]) for a, b in pairs), default=0.0),
        "worst_logit": max((abs(a["logit"] - b["logit"]) for a, b in pairs), default=0.0),
    }  # fmt: skip


TIMES = ("start_ms", "end_ms", "window_start_ms", "low_hz", "high_hz")


def _samples(state: Path, stream: int, run_frame: int) -> NDArray[np.int16]:
    """The PCM of a run: its segments, one after the other."""
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        rows = db.execute(
            "SELECT first_frame, n_frames, name FROM segment WHERE stream = ? AND first_frame >= ?"
            " ORDER BY 1", (stream, run_frame),
        ).fetchall()  # fmt: skip
    parts, end = [], run_frame
    for first_frame, n_frames, name in rows:
        if first_frame != end:
            break
        parts.append(sf.read(state / "audio" / name, dtype="int16")[0])
        end += n_frames
    return np.concatenate(parts)


def _classified_here(path: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", path, "--bundle", BUNDLE, "--json"],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted((_row(row) for row in rows), key=_order)


def _row(event: dict[str, Any]) -> dict[str, Any]:
    times = ("start", "end", "window_start")
    ms = {f"{name}_ms": round(1000 * event[f"{name}_s"]) for name in times}
    return ms | {name: event[name] for name in ("label", "low_hz", "high_hz", "score", "logit")}


def _classified_there(state: Path, stream: int, run_frame: int) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute(
            "SELECT * FROM detection WHERE stream = ? AND run_frame = ?", (stream, run_frame)
        ).fetchall()
    found = []
    for row in rows:
        begin = row["first_frame"] - run_frame
        end = begin + row["n_frames"]
        found.append({
            "start_ms": round(1000 * begin / RATE_HZ), "end_ms": int(1000 * end / RATE_HZ),
            "window_start_ms": round(1000 * (row["window_frame"] - run_frame) / RATE_HZ),
            **{name: row[name] for name in ("label", "low_hz", "high_hz", "score", "logit")},
        })  # fmt: skip
    return sorted(found, key=_order)


def _order(row: dict[str, Any]) -> tuple[int, str]:
    return row["window_start_ms"], row["label"]
