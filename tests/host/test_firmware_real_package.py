"""A package for this machine, from our sources and PyPI, installed by dpkg without network."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
from support.owner import TRUSTED, pack

from edge_probe.budget.installed import MIB, on_disk
from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.trust import write_store
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.errors import EdgeProbeError
from firmware_tools.cli import main
from firmware_tools.estimate import flash
from firmware_tools.profile import load_profile
from firmware_tools.stage import lock
from firmware_tools.stage.own_wheel import own_wheel
from firmware_tools.stage.wheelhouse import Target, collect, default_folder

BOARD = "generic-64bit-linux"


@pytest.fixture(scope="module")
def python() -> str:
    """Version of Debian's own; its wheels are in the cache from here on."""
    if platform.machine() != "x86_64":
        pytest.skip("needs an x86-64 machine")
    done = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    version = done.stdout.strip()
    if version not in lock.PYTHONS:
        pytest.skip(f"needs Python {' or '.join(lock.PYTHONS)} as /usr/bin/python3")
    try:
        tools = [lock.locked_tool("pip"), lock.locked_tool("setuptools")]
        collect(tools, None, default_folder())
        target = Target("x86_64", version)
        collect(lock.lock_of(target), target, default_folder())
    except EdgeProbeError as error:
        pytest.skip(f"needs PyPI: {error}")
    return version


def test_what_was_staged_runs_without_network(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    monkeypatch.setattr("firmware_tools.stage.output.PYTHONS", (python,))
    write_store(tmp_path / "trust.json", TRUSTED)
    pack(tmp_path / "demo.epb", DEMO_BUNDLE)
    assert main(["stage", str(tmp_path / "demo.epb"), str(tmp_path / "out"), "--profile", BOARD,
                 "--form", "deb", "--trust", str(tmp_path / "trust.json")]) == 0  # fmt: skip
    root = tmp_path / "device"
    for folder in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"):
        (root / folder).mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()
    (package,) = (tmp_path / "out").glob("*.deb")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        ["unshare", "--net", "dpkg", f"--root={root}", "--force-script-chrootless",
         "--force-depends", "--log=/dev/null", "-i", package],
        env=environ, check=True,
    )  # fmt: skip
    command = root / "opt/edge-probe/venv/bin/edge-probe"
    subprocess.run([command, "demo"], env=environ, cwd=tmp_path, check=True)
    subprocess.run([command, "selftest"], env=environ, cwd=tmp_path, check=True)

    (first,) = (root / "opt/edge-probe/wheels").glob("edge_probe-*.whl")
    umask = os.umask(0o077)
    try:
        second = own_wheel("x86_64", default_folder(), tmp_path)
    finally:
        os.umask(umask)
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes(), "built again, it is the same"

    files = (path for path in command.parents[1].resolve().rglob("*") if path.is_file())
    installed_mib = sum(on_disk(path.lstat().st_size) for path in files) / MIB
    bundle = open_bundle(DEMO_BUNDLE, verify=verify.is_valid)
    estimated = flash(bundle, load_profile(BOARD))[0]
    assert estimated.middle == pytest.approx(installed_mib, rel=0.15)
