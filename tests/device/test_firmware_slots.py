"""Install, trial, slots: two bundles on a device, a switch between them, and a way back."""

from pathlib import Path

import pytest
from support.slotted_device import Device, packed, spoilt, use

from firmware_tools.cli import main


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
