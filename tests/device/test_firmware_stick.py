"""A USB stick: signed files found on it are installed, and every device leaves its results."""

import errno
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.owner import THIEF
from support.recorded_state import RECORDING
from support.slotted_device import Device, packed, prove, spoilt, use

from edge_probe.alive.status import StatusFiles
from edge_probe.bundle import verify
from edge_probe.clock import SystemClock
from edge_probe.errors import EdgeProbeError
from firmware_tools.cli import main
from firmware_tools.slots import results, stick
from firmware_tools.slots.install import install
from firmware_tools.slots.results import serial_of
from firmware_tools.slots.stick import Finding


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return made(tmp_path / "device", "10000000abcdef01", monkeypatch)


def made(root: Path, serial: str, monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device(root)
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/device-tree/serial-number").write_bytes(serial.encode() + b"\0")
    use(device, monkeypatch)
    return device


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def serve(mounted: Path, device: Device) -> dict[str, Finding]:
    options: dict[str, Any] = {"prove": prove, "verify": verify.is_valid}
    found = stick.serve(mounted, device.layout, device.service, **options)
    return {one.name: one for one in found}


def outcomes(mounted: Path, device: Device) -> dict[str, str]:
    return {name: one.result for name, one in serve(mounted, device).items()}


def test_what_the_card_damaged_comes_again_from_the_stick(mounted: Path, device: Device) -> None:
    device.confirm(packed(mounted, 7))
    assert outcomes(mounted, device) == {"tiny-7.epb": "in use"}
    (device.layout.slots / "a/labels.txt").unlink()
    assert outcomes(mounted, device) == {"tiny-7.epb": "installed"}
    assert device.runs == 7


def test_one_stick_serves_many_devices(
    mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device: every part that is a process of its own is one."""
    packed(mounted, 7)
    packed(mounted, 6)
    for serial in ("one", "two"):
        device = made(tmp_path / serial, serial, monkeypatch)
        device.layout.deployment.write_text(f'deployment_id = "site-{serial}"\n')
        StatusFiles(device.layout.state, SystemClock()).update(lambda: RECORDING)
        assert main(["stick", str(mounted)]) == 0
        assert device.runs == 7
        assert device.calls[-1] == "start --no-block edge-probe-trial.service"
        told = json.loads((mounted / f"results/{serial}.json").read_text())
        assert (told["serial"], told["deployment_id"]) == (serial, f"site-{serial}")
        assert (told["trial"]["kept"]["release"], told["good"]) == (7, None)
        assert (told["status"]["state"], told["clock_trust"]) == (
            "recording",
            SystemClock().trust(),
        )
        assert [(one["name"], one["result"]) for one in told["files"]] == [
            ("tiny-6.epb", "not looked at"), ("tiny-7.epb", "installed"),
        ]  # fmt: skip
        assert main(["stick", str(mounted)]) == 0
        told = json.loads((mounted / f"results/{serial}.json").read_text())
        assert [one["result"] for one in told["files"]] == ["not newer", "on trial"]
        device.end("confirmed")
        n_calls = len(device.calls)
        assert main(["stick", str(mounted)]) == 0
        told = json.loads((mounted / f"results/{serial}.json").read_text())
        assert [one["result"] for one in told["files"]] == ["refused", "in use"]
        assert "E12" in told["files"][0]["reason"], "by the ratchet, from now on"
        assert told["last"]["result"] == "confirmed"
        assert not [call for call in device.calls[n_calls:] if not call.startswith("show")]
    assert sorted(path.name for path in (mounted / "results").iterdir()) == ["one.json", "two.json"]


def test_the_newest_that_this_device_accepts(device: Device, mounted: Path, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 5))
    packed(mounted, 7)
    packed(mounted, 8, spoilt(tmp_path))
    packed(mounted, 9, key=THIEF)
    torn = packed(mounted, 10)
    torn.write_bytes(torn.read_bytes()[:-1])
    flipped = packed(mounted, 11)
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"?")
    packed(mounted, 4)
    found = serve(mounted, device)
    assert {name: one.result for name, one in found.items()} == {
        "tiny-4.epb": "refused", "tiny-7.epb": "installed", "tiny-8.epb": "refused",
        "tiny-9.epb": "refused", "tiny-10.epb": "refused", "tiny-11.epb": "refused",
    }  # fmt: skip
    for release, reason in ((4, "E12"), (8, "tokens"), (9, "E10"), (10, "E08"), (11, "E09")):
        assert reason in found[f"tiny-{release}.epb"].reason
    assert device.runs == 7
    assert outcomes(mounted, device)["tiny-8.epb"] == "refused"


def test_what_failed_its_trial_is_not_tried_again(device: Device, mounted: Path) -> None:
    packed(mounted, 7)
    assert outcomes(mounted, device) == {"tiny-7.epb": "installed"}
    device.end("refused")
    found = serve(mounted, device)["tiny-7.epb"]
    assert (found.result, found.reason, device.runs) == ("refused", "as if", None)
    packed(mounted, 8)
    assert outcomes(mounted, device) == {"tiny-7.epb": "refused", "tiny-8.epb": "installed"}
    device.end("unproven")
    assert outcomes(mounted, device)["tiny-8.epb"] == "installed"


def test_names_that_a_stick_may_hold(device: Device, mounted: Path, tmp_path: Path) -> None:
    real = packed(tmp_path, 7)
    real.rename(mounted / "GRÜN 7.EPB")
    (mounted / "._tiny-9.epb").write_bytes(b"\0\5\26\7")
    (mounted / "folder.epb").mkdir()
    (mounted / "link.epb").symlink_to(packed(tmp_path, 9))
    os.mkfifo(mounted / "fifo.epb")
    (mounted / "empty.epb").touch()
    (mounted / "text.epb.txt").write_text("no")
    Path(os.fsdecode(os.fsencode(mounted) + b"/\xff\n.epb")).write_bytes(b"no")
    with (mounted / "huge.epb").open("wb") as file:
        file.truncate(2**40)
    found = serve(mounted, device)
    assert {name: one.result for name, one in found.items()} == {
        "GRÜN 7.EPB": "installed", "empty.epb": "refused", "huge.epb": "refused",
        "\\udcff\\n.epb": "refused",
    }  # fmt: skip
    assert all(f"{one.name}{one.reason}".isprintable() for one in found.values())
    assert device.runs == 7


def test_ten_thousand_files(device: Device, mounted: Path) -> None:
    whole = packed(mounted, 7).read_bytes()
    one = mounted / "a0.epb"
    one.write_bytes(whole[:900])
    for number in range(1, 10_000):
        (mounted / f"a{number}.epb").hardlink_to(one)
    began = time.monotonic()
    found = serve(mounted, device)
    assert time.monotonic() - began < 30
    assert len(found) == stick.MAX_FILES + 1
    assert found["9745 more"].result == "not looked at"
    assert device.runs is None
    one.write_bytes(whole[:-1] + b"?")
    found = serve(mounted, device)
    refused = [one for one in found.values() if "E09" in one.reason]
    assert len(refused) == stick.MAX_ATTEMPTS, "what must be read as a whole is bounded, too"
    (mounted / "0.epb").write_bytes(whole)
    assert serve(mounted, device)["0.epb"].result == "installed"


def test_files_that_change_while_they_are_read(
    device: Device, mounted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head that was believed is that of another file when it is unpacked."""
    device.confirm(packed(tmp_path, 7))
    victim = packed(mounted, 8)

    def swap(source: Path, *arguments: Any, **options: Any) -> Any:
        packed(tmp_path, 9, key=THIEF).replace(victim)
        return install(source, *arguments, **options)

    monkeypatch.setattr(stick, "install", swap)
    assert outcomes(mounted, device) == {"tiny-8.epb": "refused"}
    assert device.runs == 7


def test_a_device_without_room_says_so(
    device: Device, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(mounted, 7)
    packed(mounted, 6)
    monkeypatch.setattr("firmware_tools.slots.install.SPARE_BYTES", 2**60)
    assert main(["stick", str(mounted)]) == 1
    (told,) = [json.loads(path.read_text()) for path in (mounted / "results").iterdir()]
    assert [one["result"] for one in told["files"]] == ["not looked at", "failed"]
    assert "needs 1099511627776 MiB" in told["files"][1]["reason"]
    assert device.runs is None


def test_a_stick_that_takes_no_results(
    device: Device, mounted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason not to install, and nothing outside the stick is written."""
    packed(mounted, 7)
    outside = mounted.with_name("outside")
    outside.mkdir()
    (mounted / "results").symlink_to(outside)
    assert main(["stick", str(mounted)]) == 0
    assert device.runs == 7
    assert "no results on the stick" in caplog.text
    assert list(outside.iterdir()) == []
    (mounted / "results").unlink()
    (mounted / "results").mkdir()
    victim = outside / "victim"
    victim.write_text("as it was")
    name = f"{serial_of(device.layout.root)}.json"
    (mounted / "results" / f"{name}.part").symlink_to(victim)
    (mounted / "results" / name).symlink_to(victim)
    assert main(["stick", str(mounted)]) == 0
    assert victim.read_text() == "as it was"
    assert json.loads((mounted / "results" / name).read_text())["trial"]


@pytest.mark.parametrize("is_full", [False, True])
def test_a_stick_that_is_full_or_read_only(
    device: Device, mounted: Path, is_full: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "stick", mounted], check=True)
    try:
        packed(mounted, 7)
        if is_full:
            with suppress(OSError):
                (mounted / "more").write_bytes(bytes(2**16))
        else:
            subprocess.run(["mount", "-o", "remount,ro,size=64k", mounted], check=True)
        assert main(["stick", str(mounted)]) == 0
        assert device.runs == 7
        assert "no results on the stick" in caplog.text
        assert not list(mounted.glob("results/*"))
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_a_stick_that_is_not_there(device: Device, mounted: Path, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    before = device.record
    mounted.rmdir()
    assert main(["stick", str(mounted)]) == 1
    assert (device.runs, device.record) == (7, before)


def test_a_stick_that_is_pulled_out_while_results_are_written(
    device: Device, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = results.results(device.layout, SystemClock(), [])
    path = results.write(mounted, content)
    before = path.read_bytes()

    def gone(_: int) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fsync", gone)
    with pytest.raises(OSError, match="gone"):
        results.write(mounted, content | {"deployment_id": "another"})
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_who_this_device_is(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="neither a serial number nor a machine id"):
        serial_of(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    derived = serial_of(tmp_path)
    assert derived.startswith("machine-")
    assert "0123456789abcdef" not in derived
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    tree = tmp_path / "proc/device-tree/serial-number"
    for bad in (b"../../etc/passwd", b"", b"\xff" * 9, b"a" * 65):
        tree.write_bytes(bad)
        assert serial_of(tmp_path) == derived
    tree.write_bytes(b"10000000abcdef01\0")
    assert serial_of(tmp_path) == "10000000abcdef01"
