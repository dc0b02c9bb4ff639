"""A classifier that hears a few chunks, in a process of its own: its memory, and its work.

``python -m edge_probe.budget.trial BUNDLE [TRUST]`` prints one JSON object.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_probe.budget.operations import Operation
from edge_probe.errors import EdgeProbeError

N_CHUNKS = 3
"""Until nothing is allocated that a next chunk would not reuse."""

_USER_ERROR = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it."""

    anonymous_bytes: int
    """Heap and stacks, at their largest."""
    file_bytes: int
    """Code and mapped weights that were touched."""
    operations: tuple[Operation, ...]
    """Of the encoder, for a chunk."""


def run_trial(bundle: Path, trust: Path | None = None) -> Trial:
    """Let a child load the bundle as the classifier does and encode noise; Linux only.

    Parameters
    ----------
    bundle : Path
    trust : Path, optional
        The trust store of the device that it is meant for; by default this machine's keys count.

    Raises
    ------
    EdgeProbeError
        The bundle is no good, or the child ended otherwise.
    """
    paths = [str(path) for path in (bundle, trust) if path is not None]
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe.budget.trial", *paths],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode not in (0, _USER_ERROR):
        raise EdgeProbeError(
            f"{bundle}: the trial ended with status {done.returncode}",
            hint="edge-probe selftest shows which part fails",
        )
    answer = json.loads(done.stdout)
    if done.returncode == _USER_ERROR:
        raise EdgeProbeError(answer["message"], hint=answer["hint"])
    counted = tuple(Operation(**operation) for operation in answer.pop("operations"))
    return Trial(**answer, operations=counted)


def main() -> int:
    """The child."""
    try:
        print(json.dumps(asdict(_trial(*map(Path, sys.argv[1:])))))  # noqa: T201 - its only output
    except EdgeProbeError as error:
        print(json.dumps({"message": error.message, "hint": error.hint}))  # noqa: T201
        return _USER_ERROR
    return 0


def _trial(path: Path, trust: Path | None = None) -> Trial:
    import numpy as np

    import edge_probe.analysis.process  # noqa: F401 - what the classifier has in memory
    from edge_probe.budget.operations import operations
    from edge_probe.budget.pages import pages_of
    from edge_probe.bundle import open_bundle
    from edge_probe.bundle.trust import read_store
    from edge_probe.chunk import Chunk
    from edge_probe.classify import ChunkAnalyser
    from edge_probe.encoder import profile_nodes
    from edge_probe.measure import peak_rss_mib, rss_mib

    bundle = open_bundle(path, trusted=read_store(trust) if trust else None)
    analyser = ChunkAnalyser(bundle)
    n_samples = bundle.encoder.chunk_samples
    noise = np.random.default_rng(0).normal(0, 0.1, n_samples).astype(np.float32)
    for index in range(N_CHUNKS):
        analyser.summary(Chunk(index, noise, n_samples))
    now, peak = rss_mib(), peak_rss_mib()
    pages = pages_of(os.getpid())
    if now is None or peak is None:
        raise EdgeProbeError("memory cannot be measured here", hint="it is measured on Linux")
    largest = pages.anonymous_bytes + round((peak - now) * 2**20)
    nodes = profile_nodes(bundle.graph_path, bundle.encoder)
    return Trial(largest, pages.file_bytes, tuple(operations(nodes)))


if __name__ == "__main__":
    sys.exit(main())
