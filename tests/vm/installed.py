"""The package, installed by dpkg into the Debian root, by the processor that it is for.

It runs under qemu-user in namespaces of its own: without a network, and with nothing of the host
but /proc (with /sys too, onnxruntime breaks under qemu 7.2). The machine could do it as well, in
half an hour instead of minutes: pip compiles every module of numpy and onnxruntime.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from vm.cache import Cache, call
from vm.root import debian

PROCESSOR = "cortex-a53"
"""Not "max", the default: qemu 7.2 emulates its SVE so slowly that nothing ends."""

LIMIT_S = 2400.0

_IN_A_BOX = (
    'mount -t proc proc "$1/proc" && root=$1 && shift'
    ' && exec chroot "$root" /usr/bin/env -C /opt "$@"'
)


def inside(root: Path, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
    """Run a program of the other processor in its root, without network.

    Parameters
    ----------
    root : Path
        Folder with the root; the program begins in /opt.
    words : str
        The program and its arguments; before them variables (``NAME=VALUE``).
    timeout_s : float
    """
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "QEMU_CPU": PROCESSOR,
    }  # fmt: skip
    return subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", _IN_A_BOX, "sh", root, *words],
        env=environment, timeout=timeout_s, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def installed(cache: Cache, package: Path) -> Path:
    """A folder with the root in ``tree`` and ``facts.json``."""
    base, code = debian(cache), Path(__file__).read_bytes()
    return cache.step(
        "installed", [code, package.read_bytes(), base.name],
        lambda folder: _install(base, package, folder),
    )  # fmt: skip


def _install(base: Path, package: Path, folder: Path) -> None:
    tree = folder / "tree"
    tree.mkdir()
    call(["tar", "-x", "--numeric-owner", "-p", "-C", tree, "-f", base / "root.tar"], timeout_s=600)
    before = {name: _imports(tree, name) for name in ("pip", "ensurepip", "numpy", "onnxruntime")}
    networks = _said(inside(tree, "cat", "/proc/net/dev", timeout_s=60)).splitlines()[2:]
    shutil.copy(package, tree / "opt")
    log = _said(inside(tree, "dpkg", "--install", f"/opt/{package.name}", timeout_s=LIMIT_S))
    (folder / "dpkg.log").write_text(log, "utf-8")
    (tree / "opt" / package.name).unlink()
    facts: dict[str, Any] = {
        "processor": PROCESSOR,
        "networks": [line.split(":")[0].strip() for line in networks],
        "there_before": [name for name, is_there in before.items() if is_there],
        "package_bytes": package.stat().st_size,
        "version": _said(
            inside(tree, "dpkg-query", "-W", "-f", "${Version}", "edge-probe", timeout_s=60)
        ),
        "python": _said(inside(tree, "python3", "--version", timeout_s=60)).strip(),
        "installed_kib": int(call(["du", "-sk", tree / "opt/edge-probe"], timeout_s=60).split()[0]),
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), "utf-8")


def _imports(tree: Path, name: str) -> bool:
    return inside(tree, "python3", "-c", f"import {name}", timeout_s=60).returncode == 0


def _said(done: "subprocess.CompletedProcess[str]") -> str:
    """Its output.

    Raises
    ------
    SystemExit
        It failed.
    """
    if done.returncode:
        raise SystemExit(f"{done.args[-2:]}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
