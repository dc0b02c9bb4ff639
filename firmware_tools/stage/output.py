"""From a cargo to files that can be carried to a device."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_probe.bundle.publish import new_directory, publish
from edge_probe.errors import EdgeProbeError
from firmware_tools.profile import DeviceProfile
from firmware_tools.stage.cargo import Cargo
from firmware_tools.stage.contents import data_plan, device_plan, own_line
from firmware_tools.stage.image import build_image
from firmware_tools.stage.lock import PYTHONS, lock_of, locked_tool
from firmware_tools.stage.own_wheel import has_kernels, own_wheel
from firmware_tools.stage.package import build_package, with_control
from firmware_tools.stage.plan import Plan
from firmware_tools.stage.tree import write_tree
from firmware_tools.stage.wheelhouse import Target, collect

IMAGE = "edge-probe-data.img"
SUMS = "SHA256SUMS"
PLAN = "plan.txt"


@dataclass(frozen=True)
class Staging:
    """What would be written."""

    form: str
    name: str
    """Of the file or folder in OUT."""
    plan: Plan
    notes: tuple[str, ...]
    """What else is worth to know: verdict, Pythons, kernels."""

    def lines(self) -> list[str]:
        """For people."""
        n_files, mib = len(self.plan.files), self.plan.size_bytes / 2**20
        return [*self.plan.lines(), f"{self.name}: {n_files} files, {mib:.1f} MiB", *self.notes]


@contextmanager
def planned(cargo: Cargo, profile: DeviceProfile, form: str, wheels: Path) -> Iterator[Staging]:
    """Collect what is to be staged; its sources last as long as the context does.

    Parameters
    ----------
    cargo : Cargo
    profile : DeviceProfile
    form : str
        One of `plan.FORMS`.
    wheels : Path
        Folder of wheels.

    Raises
    ------
    EdgeProbeError
        A wheel is missing, or ours cannot be built.
    """
    warnings = (f"MAY NOT WORK: {why}" for why in cargo.verdict.warnings)
    verdict = tuple(warnings) or (f"fits: {profile.name}",)
    if form == "image":
        yield Staging(form, IMAGE, data_plan(cargo.site_files), verdict)
        return
    with TemporaryDirectory(prefix="edge-probe-wheel-") as folder:
        own = own_wheel(profile.architecture, wheels, Path(folder))
        plan = _device(cargo, profile, wheels, own)
        kernels = "in C" if has_kernels(own) else (
            f"NumPy only: {profile.architecture}-linux-gnu-gcc is missing here"
        )  # fmt: skip
        notes = (*verdict, f"Python {' and '.join(PYTHONS)}", f"kernels of the head: {kernels}")
        if form == "tree":
            yield Staging(form, "root", plan, notes)
            return
        release = cargo.bundle.manifest.release
        whole, name = with_control(plan, profile.architecture, release)
        yield Staging(form, name, whole, notes)


def _device(cargo: Cargo, profile: DeviceProfile, wheels: Path, own: Path) -> Plan:
    own_sha256 = hashlib.sha256(own.read_bytes()).hexdigest()
    found, lists = {}, {}
    for python in PYTHONS:
        target = Target(profile.architecture, python)
        locked = lock_of(target)
        found[python] = [*collect(locked, target, wheels), own]
        lists[python] = "".join(f"{one}\n" for one in locked) + own_line(own_sha256)
    (pip,) = collect([locked_tool("pip")], None, wheels)
    return device_plan(cargo.site_files, found, lists, pip)


def check_out(out: Path) -> None:
    """See that nothing is in the way.

    Raises
    ------
    EdgeProbeError
    """
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise EdgeProbeError(
            f"{out}: exists", hint="name a folder that does not exist yet, or an empty one"
        )


def write(staging: Staging, out: Path) -> None:
    """Write the folder OUT: it appears whole, or not at all.

    Raises
    ------
    EdgeProbeError
        Something is in the way, or a tool is missing.
    OSError
        The disk takes no more.
    """
    check_out(out)
    fresh = new_directory(out)
    try:
        _write(staging, fresh)
        publish(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write(staging: Staging, folder: Path) -> None:
    target = folder / staging.name
    if staging.form == "tree":
        write_tree(staging.plan, target)
    else:
        with TemporaryDirectory(dir=folder, prefix=".tree-") as hidden:
            tree = Path(hidden, "root")
            write_tree(staging.plan, tree)
            if staging.form == "image":
                build_image(staging.plan, tree, target)
            else:
                build_package(tree, target)
    (folder / PLAN).write_text("".join(f"{line}\n" for line in staging.lines()), "utf-8")
    (folder / SUMS).write_text("".join(_sums(folder)), "utf-8")


def _sums(folder: Path) -> Iterator[str]:
    """As sha256sum writes and checks them."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield f"{digest}  {path.relative_to(folder)}\n"
