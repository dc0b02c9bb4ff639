"""A bundle tried out by a process of its own, which may crash, hang, or be killed for its memory.

``python -m firmware_tools.slots.check selftest BUNDLE TRUST`` and ``measure BUNDLE TRUST RATE``
print one JSON object.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from edge_probe.errors import EdgeProbeError

N_CHUNKS = 40
"""Timed: two may take longer than the 95th percentile."""

N_WARM = 3
"""Before them, until nothing is allocated that a next chunk would not reuse."""

TIMEOUT_S = 900.0
"""A selftest and 43 chunks of 10 s, each as long as it lasts, with some to spare."""

_NICENESS = 10
"""As the classifier."""

_OOM_SCORE = 1000
"""When memory runs out the kernel takes this one before recorder and classifier."""


class FailedError(Exception):
    """The bundle is to blame.

    Parameters
    ----------
    reason : str
        A sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Measured:
    """What the classifier would take here."""

    p95_s: float
    """95th percentile of the time for a chunk, by the clock on the wall."""
    chunk_s: float
    """Audio in a chunk."""
    anonymous_bytes: int
    """Heap and stacks, at their largest."""


def selftest(bundle: Path, trust: Path, timeout_s: float = TIMEOUT_S) -> None:
    """Run the conformance vectors.

    Parameters
    ----------
    bundle : Path
        Its folder.
    trust : Path
        The trust store to open it with.
    timeout_s : float
        Longest that it may take.

    Raises
    ------
    FailedError
    """
    _child("selftest", str(bundle), str(trust), timeout_s=timeout_s)


def measure(bundle: Path, trust: Path, rate_hz: int) -> Measured:
    """Let the classifier's own code work on noise, beside all else that runs here.

    Parameters
    ----------
    bundle, trust
        As for `selftest`.
    rate_hz : int
        Of the microphone.

    Raises
    ------
    FailedError
    """
    return Measured(**_child("measure", str(bundle), str(trust), str(rate_hz)))


def _child(*arguments: str, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    what = arguments[0]
    command = [sys.executable, "-P", "-m", "firmware_tools.slots.check", *arguments]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"{what}: did not end within {timeout_s:.0f} s") from error
    if done.returncode == -9:
        raise FailedError(f"{what}: killed, as the kernel does when memory runs out")
    if done.returncode:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise FailedError(f"{what}: ended with {ended}")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise FailedError(f"{what}: ended without an answer") from error
    if fault := answer.pop("fault", None):
        raise FailedError(f"{what}: {fault}")
    return answer


def main(arguments: list[str]) -> int:
    """The child."""
    niceness = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    what, bundle, trust, *rate_hz = arguments
    try:
        answer = (
            {"fault": failed_stages(Path(bundle), Path(trust))}
            if what == "selftest"
            else asdict(_measure(Path(bundle), Path(trust), int(rate_hz[0])))
        )
    except EdgeProbeError as error:
        answer = {"fault": error.message}
    print(json.dumps(answer))  # noqa: T201 - its only output
    return 0


def failed_stages(path: Path, trust: Path) -> str:
    """What of its selftest a bundle fails, in words; nothing if it passes.

    Parameters
    ----------
    path, trust : Path
        As for `selftest`.

    Raises
    ------
    EdgeProbeError
        It does not even run.
    """
    from edge_probe.bundle import open_bundle, selftest
    from edge_probe.bundle.trust import read_store

    stages = selftest(open_bundle(path, trusted=read_store(trust)))
    failed = [
        f"{' '.join(filter(None, (stage.name, stage.kernel)))} differs by {stage.error:.3g},"
        f" allowed is {stage.allowed:.3g}"
        for stage in stages
        if not stage.passed
    ]
    return "; ".join(failed)


def _measure(path: Path, trust: Path, rate_hz: int) -> Measured:
    import numpy as np

    import edge_probe.analysis.process  # noqa: F401 - what the classifier has in memory
    from edge_probe.budget.pages import pages_of
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.trust import read_store
    from edge_probe.classify import ChunkAnalyser
    from edge_probe.measure import peak_rss_mib, rss_mib

    bundle = open_bundle(path, trusted=read_store(trust))
    analyser = ChunkAnalyser(bundle)
    grid = analyser.grid(rate_hz)
    begin, end = grid.native_slice(1)
    noise = np.random.default_rng(0).normal(0, 0.1, end - begin).astype(np.float32)
    times = []
    for _ in range(N_WARM + N_CHUNKS):
        began = perf_counter()
        analyser.summary(grid.chunk(1, noise, None))
        times.append(perf_counter() - began)
    now, peak = rss_mib(), peak_rss_mib()
    if now is None or peak is None:
        raise EdgeProbeError("memory cannot be measured here", hint="it is measured on Linux")
    more = round((peak - now) * 2**20)
    anonymous_bytes = pages_of(os.getpid()).anonymous_bytes + more
    p95_s = float(np.percentile(times[N_WARM:], 95))
    return Measured(p95_s, bundle.encoder.chunk_s, anonymous_bytes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
