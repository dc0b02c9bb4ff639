"""A device below a folder: trust store, state folder, and a ``systemctl`` of its own."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from support import classifier_unit, station
from support.child import environment
from support.numbered_source import VirtualClock
from support.owner import TRUSTED, pack
from support.tiny_bundle import GOLDEN, resign

from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.trust import read_store, write_store
from firmware_tools.layout import Layout
from firmware_tools.slots import check
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.install import Installed, install
from firmware_tools.slots.record import Outcome, Record
from firmware_tools.slots.service import Service
from firmware_tools.slots.settle import device_keys, settle
from firmware_tools.slots.trial import Rules, Tryout

_SYSTEMCTL = """#!/bin/sh
cd {folder}
echo "$*" >> calls
case "$1 $5" in
    "show edge-probe-classifier.service") exec cat "$4";;
    "restart "*) echo 0 > NRestarts; [ ! -x restart ] || exec ./restart;;
esac
"""


class Device:
    """What an installation and a trial need of a device.

    Parameters
    ----------
    root : Path
        Of its file system; made, or found as another `Device` left it.
    service : Service, optional
        By default its systemctl is asked, if it is the first on PATH.
    """

    def __init__(self, root: Path, service: Service | None = None) -> None:
        self.layout = Layout(root)
        self.service = service or Service()
        self.systemd = root / "systemd"
        """Folder of what its systemctl knows and was told."""
        for folder in (self.systemd, self.layout.config, self.layout.state):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.layout.trust.exists():
            write_store(self.layout.trust, [replace(key, min_release=1) for key in TRUSTED])
        for name, text in (("NRestarts", "0"), ("MemoryMax", "infinity"), ("calls", "")):
            (self.systemd / name).write_text(f"{text}\n" if text else "")
        program = self.systemd / "systemctl"
        program.write_text(_SYSTEMCTL.format(folder=self.systemd))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @contextmanager
    def alive(self) -> Iterator[None]:
        """A recorder at work, and a systemctl that starts the classifier."""
        state, log = self.layout.state, self.systemd / "log"
        restart = [sys.executable, classifier_unit.__file__, self.systemd, state, self.layout.trust]
        program = self.systemd / "restart"
        program.write_text(f"#!/bin/sh\nexec {' '.join(map(str, restart))}\n")
        program.chmod(0o755)
        record = [sys.executable, station.__file__, str(state), "", "60", "600"]
        with (
            log.open("ab") as out,
            subprocess.Popen(record, env=environment(), stdout=out, stderr=out) as recorder,
        ):
            try:
                yield
            finally:
                program.unlink()
                classifier_unit.stop(self.systemd)
                recorder.terminate()

    @property
    def folder(self) -> SlotFolder:
        """The slots."""
        return SlotFolder(self.layout.slots)

    @property
    def record(self) -> Record:
        """As it is kept."""
        found = self.folder.read()
        assert found is not None
        return found

    @property
    def calls(self) -> list[str]:
        """What systemctl was asked."""
        return (self.systemd / "calls").read_text().splitlines()

    @property
    def runs(self) -> int | None:
        """Release of the bundle that ``current`` leads to, which opens; None: there is none."""
        current = self.layout.slots / "current"
        if not current.is_symlink():
            return None
        trusted = read_store(self.layout.trust)
        return open_bundle(current, verify=verify.is_valid, trusted=trusted).manifest.release

    def install(self, source: Path, **options: Any) -> Installed:
        """Install within this process, but for systemctl."""
        given: dict[str, Any] = {
            "service": self.service,
            "prove": prove,
            "verify": verify.is_valid,
        } | options
        return install(source, self.layout, **given)

    def trial(self, rules: Rules | None = None, **options: Any) -> Outcome | None:
        """Try within this process, but for systemctl."""
        given: dict[str, Any] = {
            "measure": measure,
            "prove": prove,
            "verify": verify.is_valid,
        } | options
        return Tryout(self.layout, self.service, rules, **given).run()

    def cut_short(self, clock: VirtualClock) -> None:
        """A boot that ends while the bundle is measured."""

        def die(*_: object) -> check.Measured:
            raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            self.trial(measure=die, clock=clock)

    def settle(self, **options: Any) -> Record:
        """Bring order."""
        given: dict[str, Any] = {"service": self.service, "verify": verify.is_valid} | options
        self.folder.prepare()
        with self.folder.change():
            keys = device_keys(self.layout)
            return settle(self.layout, self.folder, keys, **given)

    def end(self, result: str) -> None:
        """End the trial with this result, as if it had been seen."""
        trial = self.record.trial
        assert trial
        tryout = Tryout(self.layout, self.service, verify=verify.is_valid)
        tryout.end(trial, result, "as if")

    def confirm(self, source: Path) -> None:
        """Install it, and let it be good."""
        self.install(source)
        self.end("confirmed")


def measure(*_: object) -> check.Measured:
    """It takes nothing."""
    return check.Measured(0.0, 1.0, 0)


def prove(bundle: Path, trust: Path) -> None:
    """The selftest, in this process."""
    if fault := check.failed_stages(bundle, trust):
        raise check.FailedError(fault)


def packed(folder: Path, release: int, bundle: Path = GOLDEN, **options: Any) -> Path:
    """The tiny bundle as its owner signed it with a release number."""
    target = folder / f"tiny-{release}.epb"
    pack(target, bundle, release=release, **options)
    return target


def spoilt(folder: Path, change: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> Path:
    """A bundle whose maker saw other tokens than anybody else will."""
    path = folder / "spoilt"
    shutil.copytree(GOLDEN, path)
    file = path / "conformance.safetensors"
    arrays = load(file.read_bytes())
    arrays["tokens"] = (change or (lambda a: a + np.float32(1)))(arrays["tokens"])
    file.write_bytes(save(arrays))
    resign(path)
    return path


def use(device: Device, monkeypatch: Any) -> None:
    """Let this process take it for the machine it runs on."""
    monkeypatch.setenv("PATH", f"{device.systemd}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("firmware_tools.layout.Layout", lambda: device.layout)
