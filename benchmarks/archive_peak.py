"""Peak memory of the process that hands out and keeps, by the number of files.

A program of its own, which imports no more than the command does.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

from edge_probe.bundle import open_bundle
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.survey import Request, classify_folder
from edge_probe.desk.survey.work import BatchResult, unheard


class _Deaf:
    """Hears nothing, so that only handing out and keeping is left."""

    def results(
        self, batches: Iterable[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        for batch in batches:
            yield BatchResult(batch.number, tuple(unheard(one, "deaf") for one in batch.entries))


def peak_mib(n_files: int) -> float:
    """Resident memory of this process at its largest, after so many empty files in one folder."""
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "r"
        folder.mkdir()
        for n in range(n_files):
            (folder / f"recorder_17_{n:08d}.wav").touch()
        request = Request(
            folder, Path(base) / "out", open_bundle(DEMO_BUNDLE), utc_offset=timedelta(0)
        )
        done = classify_folder(request, lambda _work, _pace: _Deaf(), StringIO())
        assert done is not None
        assert done.n_files == n_files
        # getrusage would count what the process was forked from; to remove the folder takes memory
        status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)


if __name__ == "__main__":
    print(peak_mib(int(sys.argv[1])))
