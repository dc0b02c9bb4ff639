"""A hundred hours of real audio, by links, through kills: counted, compared, timed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import soundfile as sf
from bench_overhead import SHARED
from pyarrow import dataset

SOURCES = ("soundscapes", "koumura_bird0")
"""Folders of real recordings: field audio of several rates, and songs of a finch."""

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_LOOK_S = 0.25


def linked(folder: Path, sources: Iterable[Path], n_repeats: int) -> Path:
    """A folder with folders of links to the sources, each as often as wanted."""
    for n in range(n_repeats):
        night = folder / f"night_{n + 1:04d}"
        night.mkdir(parents=True, exist_ok=True)
        for source in sources:
            link = night / source.name
            if not link.is_symlink():
                link.symlink_to(source)
    return folder


def measure(work: Path, hours: float) -> dict[str, object]:
    """Classify so many hours; one worker is killed, then all, then the first process alone."""
    sources = [SHARED.parent / name for name in SOURCES]
    paths = [path for source in sources for path in source.rglob("*")]
    lengths = [sf.info(path).duration for path in paths if path.suffix in {".wav", ".flac"}]
    n_repeats = max(2, round(hours * 3600 / sum(lengths)))
    season = linked(work / "season", sources, n_repeats)
    attempt = _Attempt(season, work / "results")
    attempt.go_on([(0.2, attempt.kill_worker), (0.4, attempt.kill_all)])
    attempt.go_on([(0.6, attempt.kill_first)])
    last_words = attempt.go_on([])
    n_files = n_repeats * len(lengths)
    return {
        "hours": round(n_repeats * sum(lengths) / 3600, 2), "n_files": n_files,
        "n_detections": _check(work / "results", n_files, n_repeats),
        "said": last_words, **attempt.figures(),
    }  # fmt: skip


def _check(out: Path, n_files: int, n_repeats: int) -> int:
    """Every file once, and every night the same; how many detections there are."""
    files = dataset.dataset(out / "files").to_table(columns=["file", "path", "problem"])
    assert sorted(files["file"].to_pylist()) == list(range(n_files))
    assert len(set(files["path"].to_pylist())) == n_files
    assert files["problem"].null_count == n_files
    columns = ["path", "start_s", "end_s", "label", "logit"]
    nights: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    rows = dataset.dataset(out / "detections").to_table(columns=columns).to_pylist()
    for row in rows:
        night, _, path = row.pop("path").partition("/")
        nights[night].append((path, *row.values()))
    assert len(nights) == n_repeats
    assert len({tuple(sorted(found)) for found in nights.values()}) == 1
    assert max(Counter(nights["night_0001"]).values()) == 1
    return len(rows)


class _Attempt:
    """The command, started again after each kill, and what its processes took."""

    def __init__(self, season: Path, out: Path) -> None:
        self._season, self._out = season, out
        self._cpu_s: dict[int, float] = {}
        self._peak_mib: dict[int, float] = {}
        self._first: list[int] = []
        self._wall_s, self._killed = 0.0, Counter[str]()
        self._loads: list[float] = []

    def go_on(self, kills: list[tuple[float, Callable[[], None]]]) -> str:
        """Start it, and kill at these shares of all batches; what it says at the end."""
        before = {path: path.stat().st_mtime_ns for path in self._kept()}
        begun = time.monotonic()
        command = [sys.executable, "-m", "edge_probe", "classify", str(self._season)]
        command += ["--out", str(self._out), "--utc-offset", "+00:00"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        self._first.append(self._process.pid)
        for share, kill in kills:
            while self._look() and len(self._kept()) < share * (self._n_batches() or 1):
                time.sleep(_LOOK_S)
            kill()
        while self._look():
            time.sleep(_LOOK_S)
        assert self._process.stdout is not None
        said = self._process.stdout.read().strip()
        while self._members():  # orphans see that they are alone
            time.sleep(_LOOK_S)
        self._wall_s += time.monotonic() - begun
        assert self._process.wait() == (-signal.SIGKILL if kills else 0)
        assert all(path.stat().st_mtime_ns == then for path, then in before.items())
        return said.rpartition(": ")[2]

    def kill_worker(self) -> None:
        """One of those that classify."""
        os.kill(max(self._workers(), key=lambda pid: self._cpu_s[pid]), signal.SIGKILL)
        self._killed["a worker"] += 1

    def kill_all(self) -> None:
        """All processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._killed["all"] += 1

    def kill_first(self) -> None:
        """The one that hands out and keeps."""
        self._process.kill()
        self._killed["the first process"] += 1

    def figures(self) -> dict[str, object]:
        """What it took, kills included; CPU time to within a quarter of a second a process."""
        first = {pid: self._cpu_s[pid] for pid in self._first}
        others = [pid for pid in self._cpu_s if pid not in first]
        return {
            "killed": dict(self._killed), "wall_s": round(self._wall_s),
            "cpu_s": round(sum(self._cpu_s.values())),
            "cpu_share_of_first_process": round(
                sum(first.values()) / sum(self._cpu_s.values()), 4
            ),
            "peak_rss_mib_first_process": round(max(self._peak_mib[pid] for pid in first), 1),
            "peak_rss_mib_worker": round(max(self._peak_mib[pid] for pid in others), 1),
            "n_batches": self._n_batches(),
            "load_1_min": [round(min(self._loads), 1), round(max(self._loads), 1)],
        }  # fmt: skip

    def _look(self) -> bool:
        """Note what the processes have taken; whether the first one lives."""
        for pid in self._members():
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            self._cpu_s[pid] = (int(stat[11]) + int(stat[12])) * _TICK_S
            if (peak := status.partition("VmHWM:")[2].split()[:1]) != []:
                self._peak_mib[pid] = int(peak[0]) / 1024
        self._loads.append(os.getloadavg()[0])
        return self._process.poll() is None

    def _members(self) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _parent, group = path.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self._process.pid and state != "Z":
                found.append(int(path.parent.name))
        return found

    def _workers(self) -> list[int]:
        return [pid for pid in self._members() if pid != self._process.pid]

    def _kept(self) -> list[Path]:
        return sorted((self._out / "files").glob("[0-9]*.parquet"))

    def _n_batches(self) -> int:
        plan = self._out / "survey.json"
        return int(json.loads(plan.read_text())["n_batches"]) if plan.exists() else 0
