"""From a tree to the file system of a data partition, without root and without mounting it."""

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_probe.errors import EdgeProbeError
from firmware_tools.stage.plan import TIME_S, Plan

LABEL = "edge-probe-data"
"""What ``/etc/fstab`` of the device knows it by (16 bytes at most)."""

ROOM_BYTES = 96 * 2**20
"""On top of the content: the journal, and what has to work before the partition is grown."""

_STEP_BYTES = 32 * 2**20
_JOURNAL_MIB = 16
_BYTES_PER_INODE = 65536
"""Recordings are large, and inodes grow with the partition."""

_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562: names that are URLs


def build_image(plan: Plan, tree: Path, target: Path) -> None:
    """Make an ext4 file system of a tree; the same plan gives the same bytes.

    Parameters
    ----------
    plan : Plan
        What the tree holds.
    tree : Path
    target : Path

    Raises
    ------
    EdgeProbeError
        e2fsprogs is missing, or refuses.
    """
    identity = str(uuid.uuid5(_NAMESPACE, f"edge-probe:{plan.sha256}"))
    size = -(-(plan.size_bytes + ROOM_BYTES) // _STEP_BYTES) * _STEP_BYTES
    with target.open("xb") as file:
        file.truncate(size)
    _run([
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0",
        "-i", str(_BYTES_PER_INODE), "-J", f"size={_JOURNAL_MIB}", "-L", LABEL, "-U", identity,
        "-E", f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
        "-d", str(tree), str(target),
    ])  # fmt: skip
    with TemporaryDirectory(prefix="edge-probe-image-") as folder:
        script = Path(folder, "script")
        script.write_text("".join(_owned_by_root(tree)), "utf-8")
        said = _run(["debugfs", "-w", "-f", str(script), str(target)])
    if len(said.splitlines()) > 1:  # its version; it has no other way to fail
        raise EdgeProbeError(f"debugfs: {said.strip()}", hint="is e2fsprogs older than 1.47?")


def _owned_by_root(tree: Path) -> Iterator[str]:
    """What mke2fs copies from the tree though it belongs to this machine: owners and times."""
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree)
        for field in ("uid", "gid"):
            yield f'set_inode_field "/{name}" {field} 0\n'
        for field in ("atime", "ctime", "mtime"):
            yield f'set_inode_field "/{name}" {field} @{TIME_S}\n'


def _run(command: Sequence[str]) -> str:
    """What it said on stderr."""
    times = {"E2FSPROGS_FAKE_TIME": str(TIME_S), "SOURCE_DATE_EPOCH": str(TIME_S)}
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, env={**os.environ, **times, "PATH": path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise EdgeProbeError(f"{command[0]} is missing", hint="apt-get install e2fsprogs") from None
    if done.returncode:
        raise EdgeProbeError(f"{command[0]}: {done.stderr.strip()}", hint="look at free space")
    return done.stderr
