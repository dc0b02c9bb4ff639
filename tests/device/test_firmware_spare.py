"""A bundle that the card damaged, and the files that may take its place."""

from pathlib import Path

import pytest
from support.owner import THIEF
from support.slotted_device import Device, packed, spoilt, use

from edge_probe.bundle import RejectedBundleError
from firmware_tools.cli import main
from firmware_tools.slots import check
from firmware_tools.slots.trial import Rules


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device(tmp_path / "device")
    use(made, monkeypatch)
    return made


def damage(device: Device) -> None:
    """A bit of the head in use flips."""
    file = (device.layout.slots / "current" / "head.safetensors").resolve()
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RejectedBundleError, match="E09"):
        _ = device.runs


def test_the_package_replaces_the_only_bundle(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the command that the unit runs at boot, which finds the file by itself."""
    device.layout.staged.mkdir(parents=True)
    source = packed(device.layout.staged, 7)
    device.confirm(source)
    damage(device)
    monkeypatch.setattr("firmware_tools.slots.trial.Rules", lambda: Rules(give_up_s=0))
    assert main(["trial"]) == 1, "without a microphone there is no evidence"
    assert f"of {source} takes its place" in caplog.text
    assert "restart --no-block edge-probe-classifier.service" in device.calls


def test_it_is_on_trial_and_the_newest_that_is_good(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    damage(device)
    spares = [
        packed(tmp_path, 6),  # below the ratchet
        packed(tmp_path, 9, key=THIEF),
        packed(tmp_path, 10, spoilt(tmp_path)),
        tmp_path / "gone.epb",
        tmp_path / "tiny-7.epb",
        packed(tmp_path, 8),
    ]
    seen: list[int | None] = []

    def look(*_: object) -> check.Measured:
        seen.append(device.runs)
        return check.Measured(0, 1, 0)

    outcome = device.trial(Rules(give_up_s=0), spares=lambda: spares, measure=look)
    assert outcome
    assert (outcome.release, seen) == (8, [8])
    assert [one.release for one in device.record.refused] == [10]
    device.install(tmp_path / "tiny-7.epb")
    device.end("confirmed")
    assert device.runs == 7
    assert device.trial(spares=lambda: spares) is None, "nothing is damaged any more"


def test_one_that_was_good_before_comes_first(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    device.confirm(packed(tmp_path, 8))
    damage(device)
    assert device.trial(spares=lambda: [packed(tmp_path, 9)]) is None
    assert device.runs == 7


def test_where_nothing_can_take_its_place_it_is_said(
    device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device.confirm(packed(tmp_path, 7))
    before = device.record
    damage(device)
    assert device.trial(spares=lambda: [packed(tmp_path, 6)]) is None
    assert device.record == before
    assert "release 7 or later" in caplog.text
    assert "is damaged, and no good bundle lies on this device" in caplog.text
