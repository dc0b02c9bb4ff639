"""Install, trial, slots: two bundles on a device, a switch between them, and a way back."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.analysed_state import small_bundle
from support.slotted_device import Device, packed, spoilt, use

from edge_probe.bundle import RejectedBundleError
from edge_probe.bundle.trust import read_store
from edge_probe.spec import WindowSpec
from firmware_tools.cli import main
from firmware_tools.slots import check
from firmware_tools.slots.evidence import on_duty
from firmware_tools.slots.record import Outcome
from firmware_tools.slots.trial import Rules, Tryout


def kept(device: Device) -> tuple[int | None, int | None, int | None]:
    """Releases: good, previous, on trial."""
    record = device.record
    three = record.good, record.previous, record.trial and record.trial.kept
    return tuple(one and one.release for one in three)


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device(tmp_path / "device")
    use(made, monkeypatch)
    return made


def test_the_first_bundle(
    device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epb = packed(tmp_path, 7)
    assert main(["install", str(epb)]) == 0
    assert "release 7: on trial in slot a\n" in capsys.readouterr().out
    assert device.runs == 7
    assert device.record.good is None
    assert device.record.trial is not None
    assert device.calls[-2:] == [
        "restart --no-block edge-probe-classifier.service",
        "start --no-block edge-probe-trial.service",
    ]
    assert main(["install", str(epb)]) == 0
    assert "release 7: on trial in slot a already\n" in capsys.readouterr().out
    assert main(["slots"]) == 0
    assert "on trial  tiny@" in capsys.readouterr().out


def test_one_that_fails_its_selftest(
    device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", str(packed(tmp_path, 7))]) == 0
    before = device.record
    bad = packed(tmp_path, 8, spoilt(tmp_path))
    assert main(["install", str(bad)]) == 1
    assert "does not work on this device: selftest: tokens differs" in capsys.readouterr().err
    assert device.runs == 7
    assert device.record.trial == before.trial
    assert main(["install", str(bad)]) == 1
    assert "was refused before: selftest: tokens differs" in capsys.readouterr().err


RULES = Rules(good_s=3, look_s=0.2, late_s=60)


def unhurried(*arguments: Any) -> check.Measured:
    """What was measured, but for the time: a busy machine is not a slow one."""
    return replace(check.measure(*arguments), p95_s=0.0)


def test_with_a_recorder_and_a_classifier_at_work(device: Device, tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "small", WindowSpec(3, 2, 0.1)).path

    def update(release: int) -> Outcome | None:
        device.install(packed(tmp_path, release, bundle))
        return Tryout(device.layout, device.service, RULES, measure=unhurried).run()

    with device.alive():
        assert (first := update(7))
        assert (first.result, device.record.last) == ("confirmed", first), first.reason
        assert (second := update(8))
        assert (second.result, device.runs) == ("confirmed", 8), second.reason
        assert kept(device) == (8, 7, None)
        (device.systemd / "ends").touch()
        assert (third := update(9))
        assert (third.result, device.runs) == ("refused", 8)
        assert third.reason == "the classifier had to be started again 4 times"
        (device.systemd / "ends").unlink()
        sha256 = device.record.good and device.record.good.sha256
        until(lambda: on_duty(device.layout.state) == sha256)
    assert kept(device) == (8, None, None)
    assert [key.min_release for key in read_store(device.layout.trust)] == [8, 1]
    with pytest.raises(RejectedBundleError, match="expected release 8 or later"):
        device.install(tmp_path / "tiny-7.epb")
