"""What an encoder costs a recorder: memory, what a small memory has to read again, time.

Each figure comes from a process of its own (`profiled`). Weights that lie in a file beside the
graph are mapped, not copied: the kernel drops their pages where memory is short and reads them
again for the next chunk. Whether that is bearable is what the caps are for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from edge_probe.encoder import Profile
from edge_probe.errors import EncoderError
from export.card import EncoderCard
from export.encoders.memory_group import MemoryGroup

PROFILES: tuple[Profile, ...] = ("low-memory", "fast")

CAPS_MIB = (350, 180, 130)
"""What a Pi Zero 2 W can spare; what fits beside a large buffer; a small container."""

MOST_REREAD_MIB = 1.0
"""Of a chunk in steady state: above it an encoder thrashes."""

CARD_MIB_S = 20.0
"""Sequential reads of a slow SD card."""

WARM_UP_CHUNKS = 4

_LIMIT_S, _CAPPED_LIMIT_S = 600, 240
"""For one process: without a cap, and under one, where it may thrash without end."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Figures of one process."""

    profile: Profile
    cap_mib: int | None
    """Memory of the process and of the page cache it fills; None: as much as it likes."""
    load_s: float
    load_peak_mib: float
    """Largest resident set until the graph was loaded, Python included."""
    total_mib: float
    """Largest resident set while chunks were encoded: the working set, where there is no cap."""
    anonymous_mib: float | None
    """Of it, memory that no file holds: it cannot be dropped. None under a cap, where pages of
    files come and go."""
    file_mapped_mib: float | None
    """Of it, pages of files: weights beside the graph, and libraries. None under a cap."""
    major_faults_per_chunk: float
    reread_mib_per_chunk: float
    """In steady state."""
    chunk_ms: float
    """Median."""
    mapped_by_others_mib: float | None = None
    """File-mapped, and in memory already for other processes; None: no cgroup tells."""

    @property
    def verdict(self) -> str:
        """Whether an encoder fits."""
        if self.reread_mib_per_chunk < MOST_REREAD_MIB:
            return "fits"
        n = self.reread_mib_per_chunk
        return (
            f"thrashes: {n:.0f} MiB per chunk, at least {n / CARD_MIB_S:.1f} s on a card reading "
            f"{CARD_MIB_S:.0f} MiB/s"
        )


@dataclass(frozen=True, slots=True)
class NoRun:
    """A cap under which an encoder gave no figures."""

    profile: Profile
    cap_mib: int
    verdict: str


@dataclass(frozen=True, slots=True)
class EncoderProfile:
    """All figures of an encoder."""

    file_mib: float
    """Graph and external data."""
    costs: list[Cost | NoRun]
    why_no_caps: str | None
    """Why none was tried, where none was."""

    def figures(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "file_mib": round(self.file_mib, 2),
            "why_no_caps": self.why_no_caps,
            "costs": [
                {k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(cost).items()}
                | {"verdict": cost.verdict}
                for cost in self.costs
            ],
        }


def profile(
    card: EncoderCard, caps_mib: Sequence[int] = CAPS_MIB, n_chunks: int = 20
) -> EncoderProfile:
    """Measure an encoder under both profiles, without a cap and under each.

    Parameters
    ----------
    card : EncoderCard
    caps_mib : sequence of int
    n_chunks : int
        In steady state, after `WARM_UP_CHUNKS`.

    Raises
    ------
    EncoderError
        The system does not tell these figures, or the encoder fails.
    """
    if not Path("/proc/self/io").exists():
        raise EncoderError(
            "this system does not tell how much a process reads and maps",
            hint="profile on Linux, best on the recorder itself",
        )
    files = [card.graph, *card.external_data]
    if lies_in_memory(card.graph):
        raise EncoderError(
            f"{card.graph}: lies in a file system in memory: nothing is read again from there",
            hint="copy the encoder to a disk",
        )
    if (why := MemoryGroup.why_none()) is not None:
        why = f"no memory cgroup can be made, which takes root: {why}"
    costs: list[Cost | NoRun] = []
    for name in PROFILES:
        free = _cost(card, name, None, n_chunks, 0.0)
        if isinstance(free, NoRun):
            raise EncoderError(
                f"{card.graph}: the encoder was killed without a cap", hint="free some memory"
            )
        costs.append(free)
        for cap in sorted(caps_mib, reverse=True) if why is None else ():
            costs.append(_cost(card, name, cap, n_chunks, free.mapped_by_others_mib or 0.0))
    return EncoderProfile(sum(path.stat().st_size for path in files) / 2**20, costs, why)


def _cost(
    card: EncoderCard, name: Profile, cap_mib: int | None, n_chunks: int, by_others_mib: float
) -> Cost | NoRun:
    """Run one process.

    Libraries that other processes have mapped are not counted by the group, so the cap is lowered
    by them: on a recorder they would have to fit too.
    """
    for path in (card.graph, *card.external_data):
        _drop_from_cache(path)
    group = MemoryGroup.make()
    try:
        if group is not None:
            group.stay_out_of_swap()
            if cap_mib is not None:
                group.limit(max(1, int((cap_mib - by_others_mib) * 2**20)))
        order = {
            "graph": str(card.graph), "spec": asdict(card.spec), "profile": name,
            "warm_up_chunks": WARM_UP_CHUNKS, "chunks": n_chunks,
            "group": str(group.path) if group else None,
        }  # fmt: skip
        done = _run(order, _LIMIT_S if cap_mib is None else _CAPPED_LIMIT_S)
        if done.returncode and group is not None and group.n_killed and cap_mib is not None:
            return NoRun(name, cap_mib, "does not run: the kernel ends it for lack of memory")
    except subprocess.TimeoutExpired as error:
        if cap_mib is not None:
            return NoRun(name, cap_mib, f"does not run: not finished after {_CAPPED_LIMIT_S} s")
        raise EncoderError(
            f"{card.graph}: {n_chunks} chunks took more than {_LIMIT_S} s",
            hint="say --chunks 1, or use a smaller encoder",
        ) from error
    finally:
        if group is not None:
            group.remove()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EncoderError(
            f"{card.graph}: the encoder failed in a process of its own: {last}",
            hint="try it with edge-export encoder cut or edge-probe selftest first",
        )
    found = json.loads(done.stdout)
    cost = Cost(profile=name, cap_mib=cap_mib, **found | {"chunk_ms": median(found["chunk_ms"])})
    if cap_mib is None:
        return cost
    return replace(cost, anonymous_mib=None, file_mapped_mib=None)


def _run(order: dict[str, Any], limit_s: float) -> subprocess.CompletedProcess[str]:
    """`profiled` in a process that has ended when this returns or raises.

    `subprocess.run` does not wait for it after Ctrl-C, and a group with a process in it cannot be
    removed.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "export.encoders.profiled"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(json.dumps(order), timeout=limit_s)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _drop_from_cache(path: Path) -> None:
    """Let the kernel forget a file: pages that are cached already would be charged to nobody."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # dirty pages are not dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def lies_in_memory(path: Path) -> bool:
    """Whether a file lies in a tmpfs or ramfs."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, folder, name, *_ = line.split()
        folder = folder.replace("\\040", " ")
        if path.resolve().is_relative_to(folder) and len(folder) >= len(best):
            best, kind = folder, name
    return kind in ("tmpfs", "ramfs")
