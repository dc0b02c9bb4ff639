"""The plan of a device, and the plan of a data partition."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import edge_probe
import firmware_tools
from firmware_tools.layout import Layout
from firmware_tools.stage.plan import File, Link, Plan

FILES = Path(__file__).with_name("files")
UNITS = Path(firmware_tools.__file__).parent / "units"

_ROOT = Layout(Path())
_SYSTEM = {
    "edge-probe.sysusers": "usr/lib/sysusers.d/edge-probe.conf",
    "edge-probe.tmpfiles": "usr/lib/tmpfiles.d/edge-probe.conf",
}


def device_plan(
    site_files: Mapping[str, Path],
    wheels: Mapping[str, Sequence[Path]],
    lists: Mapping[str, str],
    pip: Path,
) -> Plan:
    """Everything below the root of a device.

    Parameters
    ----------
    site_files : mapping
        Name to file: the bundle, the trust store, settings.
    wheels : mapping
        Python (``3.11``) to the wheels for it.
    lists : mapping
        Python to the list that pip installs by.
    pip : Path
        Its own wheel.
    """
    program = str(_ROOT.program)
    every = {path.name: path for paths in wheels.values() for path in paths} | {pip.name: pip}
    requirements = ((f"{program}/{python}.txt", text) for python, text in lists.items())
    return Plan.of([
        *(File(f"{program}/wheels/{name}", path) for name, path in every.items()),
        *(File(path, text.encode()) for path, text in requirements),
        *_staged(str(_ROOT.staged), site_files),
        File(f"{program}/configure", FILES / "configure", 0o755),
        *(Link(f"{_ROOT.commands}/{name}", f"/{program}/venv/bin/{name}")
          for name in ("edge-probe", "edge-firmware")),
        *(File(f"{_ROOT.units}/{path.name}", path)
          for path in (*UNITS.glob("*.service"), *UNITS.glob("*.mount"))),
        *(File(path, UNITS / name) for name, path in _SYSTEM.items()),
    ])  # fmt: skip


def data_plan(site_files: Mapping[str, Path]) -> Plan:
    """Everything below the root of a data partition."""
    site = Layout().site_folders[1].relative_to(Layout().state)
    return Plan.of(_staged(str(site), site_files))


def own_line(wheel_sha256: str) -> str:
    """The line of our own wheel for the list that pip installs by."""
    return f"edge-probe=={edge_probe.__version__} --hash=sha256:{wheel_sha256}\n"


def _staged(folder: str, site_files: Mapping[str, Path]) -> Iterable[File]:
    return (File(f"{folder}/{name}", path) for name, path in site_files.items())
