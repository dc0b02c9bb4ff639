"""The process that `profile` looks at: loads an encoder, runs chunks, says what that took.

Started as ``python -m export.encoders.profiled``; one JSON object on stdin, one on stdout. It
imports what the recorder's classifier imports for its encoder, and nothing else.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

_MIB = 2**20
_RESET_PEAK = "5"  # Documentation/filesystems/proc.rst: clear_refs


def main() -> None:
    """Measure as asked."""
    order = json.load(sys.stdin)
    if order["group"]:  # before anything large is read or allocated
        from export.encoders.memory_group import MemoryGroup

        group = MemoryGroup.of(Path(order["group"]))
        group.join(os.getpid())
    else:
        group = None
    json.dump(_measure(order, group), sys.stdout)


def _measure(order: dict[str, Any], group: Any) -> dict[str, Any]:
    import numpy as np

    from edge_probe.encoder import Encoder
    from edge_probe.spec import EncoderSpec, TokenGrid

    facts = order["spec"]
    spec = EncoderSpec(**facts | {"grid": TokenGrid(**facts["grid"])})
    begin = time.perf_counter()
    encoder = Encoder(Path(order["graph"]), spec, profile=order["profile"])
    load_s = time.perf_counter() - begin
    load_peak = _status("VmHWM")
    chunk = 0.1 * np.random.default_rng(0).normal(size=spec.chunk_samples).astype(np.float32)
    for _ in range(order["warm_up_chunks"]):
        encoder.tokens(chunk)
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    before, spent = _used(), []
    for _ in range(order["chunks"]):
        begin = time.perf_counter()
        encoder.tokens(chunk)
        spent.append(time.perf_counter() - begin)
    after = _used()
    total, mapped = _status("VmHWM"), _status("RssFile")
    return {
        "load_s": load_s,
        "load_peak_mib": load_peak,
        "total_mib": total,
        "file_mapped_mib": mapped,
        "anonymous_mib": total - mapped,
        "mapped_by_others_mib": None if group is None else mapped - group.n_mapped_bytes / _MIB,
        "major_faults_per_chunk": (after[0] - before[0]) / order["chunks"],
        "reread_mib_per_chunk": (after[1] - before[1]) / order["chunks"] / _MIB,
        "chunk_ms": sorted(1e3 * s for s in spent),
    }


def _status(field: str) -> float:
    """A line of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _used() -> tuple[int, int]:
    """Major faults, and bytes read from storage, so far."""
    read = dict(
        line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    )["read_bytes"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt, int(read)


if __name__ == "__main__":
    main()
