"""Memory as the kernel has it, shared pages once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_probe.budget.pages import family, pages_of, together
from edge_probe.measure import rss_mib

MIB = 2**20

CHILD = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    room = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
begin, end, own = (int(word) << 20 for word in sys.argv[2:])
touched = sum(room[at] for at in range(begin, end, 4096))
heap = bytearray(b"x") * own
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shared_file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(MIB) * 24)
    return path


def start(path: Path, begin: int, end: int, own: int) -> "subprocess.Popen[bytes]":
    """A process that has read MiB from begin to end of a mapped file and has some of its own."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(begin), str(end), str(own)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def test_a_page_of_a_file_counts_once_and_what_is_written_counts_for_each(
    shared_file: Path,
) -> None:
    with start(shared_file, 0, 16, 1) as one, start(shared_file, 8, 24, 9) as other:
        alone = [pages_of(child.pid) for child in (one, other)]
        both = together([one.pid, other.pid, other.pid + 10**7])
        members = family(os.getpid())
        for child in (one, other):
            assert child.pid in members
            child.kill()
    (inode,) = {file[1] for file in both.files} & {shared_file.stat().st_ino}
    (numbers,) = (pages for file, pages in both.files.items() if file[1] == inode)
    size = os.sysconf("SC_PAGE_SIZE")
    assert len(numbers) * size == 24 * MIB
    assert both.file_bytes < sum(pages.file_bytes for pages in alone) - 7 * MIB
    own = sum(pages.anonymous_bytes for pages in alone)
    assert both.anonymous_bytes == pytest.approx(own, abs=MIB / 8)  # they still begin to wait
    difference = alone[1].anonymous_bytes - alone[0].anonymous_bytes
    assert difference == pytest.approx(8 * MIB, abs=MIB / 2)


def test_it_is_what_the_kernel_counts() -> None:
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    kib = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+) kB", rollup, re.M)}
    found = pages_of(os.getpid())
    assert found.anonymous_bytes == pytest.approx(1024 * kib["Anonymous"], rel=0.03)
    assert found.file_bytes == pytest.approx(1024 * (kib["Rss"] - kib["Anonymous"]), rel=0.03)
    resident = rss_mib()
    assert resident is not None
    total = found.anonymous_bytes + found.file_bytes
    assert total / MIB == pytest.approx(resident, rel=0.03)


def test_a_process_that_has_ended_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError):
        pages_of(child.pid)
    assert together([child.pid]).anonymous_bytes == 0
