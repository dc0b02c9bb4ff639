"""From a tree to a Debian package."""

import hashlib
import os
import subprocess
from pathlib import Path

import edge_probe
from edge_probe.budget.installed import on_disk
from edge_probe.errors import EdgeProbeError
from firmware_tools.stage.contents import FILES
from firmware_tools.stage.plan import TIME_S, File, Plan

DEBIAN_NAMES = {"aarch64": "arm64", "x86_64": "amd64"}
"""Of `DeviceProfile.architecture`."""

SCRIPTS = ("postinst", "prerm", "postrm")

_CONTROL = """\
Package: edge-probe
Version: {version}
Architecture: {architecture}
Maintainer: whoever staged it <root@localhost>
Installed-Size: {kib}
Depends: {depends}
Recommends: alsa-utils
Section: sound
Priority: optional
Description: field recorder that hears chosen species
 Staged for one project: its bundle, its keys and its settings are inside, and all
 Python packages as wheels; nothing is downloaded. Never deletes recordings.
"""
_DEPENDS = (
    "python3 (>= 3.11)",
    "python3 (<< 3.12) | python3 (>= 3.13)",
    "python3 (<< 3.14)",
    "libportaudio2",
    "systemd",
)


def with_control(plan: Plan, architecture: str, release: int) -> tuple[Plan, str]:
    """The plan with what dpkg wants to know, and the file name of the package.

    Parameters
    ----------
    plan : Plan
        Of a device.
    architecture : str
        As ``uname -m`` tells it.
    release : int
        Of the bundle in it.
    """
    scripts = [File(f"DEBIAN/{name}", FILES / name, 0o755) for name in SCRIPTS]
    content = Plan.of([*plan.files, *plan.links, *scripts])
    version = f"{edge_probe.__version__}+{release}.{content.sha256[:8]}"
    debian = DEBIAN_NAMES[architecture]
    control = _CONTROL.format(
        version=version, architecture=debian, depends=", ".join(_DEPENDS),
        kib=sum(on_disk(file.size_bytes) for file in plan.files) // 1024,
    )  # fmt: skip
    more = [
        File("DEBIAN/control", control.encode()),
        File("DEBIAN/md5sums", _md5sums(plan).encode()),  # for dpkg --verify
    ]
    whole = Plan.of([*content.files, *content.links, *more])
    return whole, f"edge-probe_{version}_{debian}.deb"


def build_package(tree: Path, target: Path) -> None:
    """Let dpkg-deb make a package of a tree; the same tree gives the same bytes.

    Not compressed: nearly all of it is wheels, which are, and a board has better things to do than
    to unpack twice. It also leaves out how many threads of which liblzma did it.

    Raises
    ------
    EdgeProbeError
        dpkg-deb is missing or refuses.
    """
    try:
        done = subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(target)],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(TIME_S), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise EdgeProbeError("dpkg-deb is missing", hint="apt-get install dpkg") from None
    if done.returncode:
        raise EdgeProbeError(f"dpkg-deb: {done.stderr.strip()}", hint="look at free space")


def _md5sums(plan: Plan) -> str:
    lines = []
    for file in plan.files:
        data = file.source if isinstance(file.source, bytes) else file.source.read_bytes()
        lines.append(f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {file.path}\n")
    return "".join(lines)
