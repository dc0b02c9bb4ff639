"""``edge-firmware setup``: what a device does with files that were put there from outside."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from support.child import environment
from support.dying import dies
from support.owner import BACKUP, THIEF, TRUSTED, pack

from edge_probe.bundle import open_bundle, transport, verify
from edge_probe.bundle.publish import publish_file
from edge_probe.bundle.trust import read_store, write_store
from firmware_tools.cli import main
from firmware_tools.layout import Layout
from firmware_tools.stage.contents import UNITS
from firmware_tools.stage.setup import DEFAULTS, SELFTEST_S, Outcome, setup
from firmware_tools.stage.site import RESULT, SUFFIX
from firmware_tools.stage.site_files import check_settings

BUNDLE = 'bundle = "/var/lib/edge-probe/slots/current"\n'
LABEL = "Parus major_Great Tit"
SPECIES = "label,from_mmdd,to_mmdd,min_score\n"


class Device:
    """The file system of one that was installed a moment ago."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.boot, self.site = self.layout.site_folders
        self.staged = self.layout.staged
        for folder in (self.boot, self.site, self.staged, self.layout.config):
            folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> list[str]:
        """What a boot says, a line for each file that was new."""
        return [
            f"{'' if one.is_good else 'not '}{one.path.parent.name}/{one.path.name}"
            for one in self.outcomes()
        ]

    def outcomes(self) -> list[Outcome]:
        return setup(self.layout, prove=lambda bundle, trust: None, verify=verify.is_valid)

    def trusts(self, folder: Path, min_release: int = 1) -> None:
        keys = [replace(key, min_release=min_release) for key in TRUSTED]
        write_store(folder / "trust.json", keys)

    @property
    def release(self) -> int | None:
        """Of the bundle in use."""
        current = self.layout.slots / "current"
        if not current.exists():
            return None
        keys = read_store(self.layout.trust)
        return open_bundle(current, verify=verify.is_valid, trusted=keys).manifest.release

    @property
    def settings(self) -> str:
        return self.layout.settings.read_text()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "device")


def test_the_first_boot_takes_everything_and_the_next_one_nothing(device: Device) -> None:
    device.trusts(device.staged)
    pack(device.staged / "tiny-7.epb")
    (device.staged / "settings.toml").write_text(f'{BUNDLE}private = ["{LABEL}"]\n')
    (device.staged / "species.csv").write_text(f"{SPECIES}{LABEL},,,\n")
    (device.staged / "deployment.toml").write_text('deployment_id = "A"\n')
    assert sorted(device.start()) == [
        "staged/deployment.toml", "staged/settings.toml", "staged/species.csv",
        "staged/tiny-7.epb", "staged/trust.json",
    ]  # fmt: skip
    assert device.release == 7
    for name in ("settings.toml", "species.csv", "deployment.toml", "trust.json"):
        assert (device.layout.config / name).read_bytes() == (device.staged / name).read_bytes()
    before = _state(device.layout)
    assert device.start() == []
    assert _state(device.layout) == before, "nothing is written"


def _state(layout: Layout) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in layout.root.rglob("*")
    }


def test_a_device_that_was_given_no_settings_gets_the_defaults(device: Device) -> None:
    assert device.start() == []
    assert device.layout.settings.read_bytes() == DEFAULTS.read_bytes()
    check_settings(DEFAULTS, None)
    device.layout.settings.write_text("rate = 32000\n")
    device.start()
    assert device.settings == "rate = 32000\n"


BAD = {
    "settings.toml": "rates = 1\n",
    "deployment.toml": "deployment_id = 1\n",
    "species.csv": "label;from_mmdd\n",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_leaves_the_old_one_and_says_why_once(name: str, device: Device) -> None:
    device.trusts(device.layout.config)
    pack(device.staged / "tiny-7.epb")
    good = {"settings.toml": BUNDLE, "deployment.toml": 'deployment_id = "A"\n',
            "species.csv": f"{SPECIES}{LABEL},,,\n"}[name]  # fmt: skip
    (device.boot / name).write_text(good)
    assert f"edge-probe/{name}" in device.start()
    result = device.boot / "edge-probe-result.txt"
    assert result.read_text() == f"{name}: taken over\n"

    (device.boot / name).write_text(BAD[name])
    assert device.start() == [f"not edge-probe/{name}"]
    assert (device.layout.config / name).read_text() == good
    assert f"{name}: NOT TAKEN OVER: {device.boot / name}" in result.read_text()
    result.unlink()
    assert device.start() == []
    assert not result.exists()

    (device.boot / name).write_text(good)
    assert device.start() == [f"edge-probe/{name}"]
    assert result.read_text() == f"{name}: taken over\n"


def test_what_was_put_there_last_counts_and_of_two_the_boot_partition(device: Device) -> None:
    (device.staged / "settings.toml").write_text("rate = 8000\n")
    device.start()
    (device.boot / "settings.toml").write_text("rate = 16000\n")
    (device.site / "settings.toml").write_text("rate = 24000\n")
    assert device.start() == ["edge-probe/settings.toml", "site/settings.toml"]
    assert device.settings == "rate = 16000\n"
    assert "left, for that in" in (device.site / "edge-probe-result.txt").read_text()

    device.layout.settings.write_text("rate = 32000\n")  # by its administrator
    assert device.start() == []
    assert device.settings == "rate = 32000\n"
    hidden = device.boot.rename(device.boot.with_name("hidden"))  # not mounted, for a boot
    assert device.start() == []
    hidden.rename(device.boot)
    assert device.start() == []
    assert device.settings == "rate = 32000\n"

    (device.staged / "settings.toml").write_text("rate = 44100\n")  # a new package
    assert device.start() == ["staged/settings.toml"]
    assert device.settings == "rate = 44100\n"
    (device.boot / "settings.toml").write_text("bad\n")
    (device.site / "settings.toml").write_text("rate = 48000\n")
    assert device.start() == ["not edge-probe/settings.toml", "site/settings.toml"]
    assert device.settings == "rate = 48000\n"


def test_a_trust_store_is_never_replaced_from_outside(device: Device) -> None:
    (device.boot / "trust.json").write_text("{}")
    device.trusts(device.staged, 3)
    assert device.start() == ["not edge-probe/trust.json", "staged/trust.json"]
    before = device.layout.trust.read_bytes()
    device.trusts(device.boot, 1)
    assert device.start() == ["not edge-probe/trust.json"]
    assert "this device has a trust store" in (device.boot / "edge-probe-result.txt").read_text()
    device.trusts(device.site, 3)
    assert device.start() == [], "the same"
    assert device.layout.trust.read_bytes() == before


def test_the_newest_bundle_that_is_acceptable_is_installed_where_there_is_none(
    device: Device, tmp_path: Path
) -> None:
    pack(device.boot / "a.epb", key=BACKUP, release=8)
    pack(device.staged / "b.epb", release=9)
    pack(device.site / "thief.epb", key=THIEF, release=10)
    pack(device.site / "old.epb", release=6)
    (device.site / "torn.epb").write_bytes((device.boot / "a.epb").read_bytes()[:-1])
    said = device.start()
    assert device.release is None
    assert "no such file" in (device.boot / "edge-probe-result.txt").read_text().lower()
    assert len(said) == 5
    device.trusts(device.staged, 7)
    said = device.start()
    assert device.release == 9
    assert "staged/b.epb" in said
    assert {one for one in said if one.startswith("not")} == {
        "not site/thief.epb", "not site/old.epb", "not site/torn.epb",
    }  # fmt: skip
    pack(device.boot / "c.epb", release=11)
    assert device.start() == ["not edge-probe/c.epb"]
    assert device.start() == []
    assert device.release == 9
    assert "edge-firmware install" in (device.boot / "edge-probe-result.txt").read_text()


def test_one_that_does_not_work_here_is_left_for_the_next(device: Device) -> None:
    from firmware_tools.slots.check import FailedError

    device.trusts(device.layout.config)
    pack(device.boot / "a.epb", release=8)
    pack(device.boot / "b.epb", release=9)

    def prove(bundle: Path, trust: Path) -> None:
        keys = read_store(trust)
        if open_bundle(bundle, verify=verify.is_valid, trusted=keys).manifest.release == 9:
            raise FailedError("illegal instruction")

    outcomes = setup(device.layout, prove=prove, verify=verify.is_valid)
    assert [(one.path.name, one.is_good) for one in outcomes] == [("b.epb", False), ("a.epb", True)]
    assert "illegal instruction" in outcomes[0].text
    assert device.release == 8


def test_a_deployment_of_other_recordings_would_stop_the_recorder(device: Device) -> None:
    device.layout.state.joinpath("deployment.toml").write_text('deployment_id = "A"\n')
    (device.boot / "deployment.toml").write_text('deployment_id = "B"\n')
    assert device.start() == ["not edge-probe/deployment.toml"]
    assert "expected deployment_id A" in (device.boot / "edge-probe-result.txt").read_text()
    (device.boot / "deployment.toml").write_text('deployment_id = "A"\nlatitude = 1.0\n')
    assert device.start() == ["edge-probe/deployment.toml"]
    device.layout.state.joinpath("deployment.toml").write_text("torn")
    (device.boot / "deployment.toml").write_text('deployment_id = "B"\n')
    assert device.start() == ["edge-probe/deployment.toml"], "the recorder puts the copy aside"


def test_a_deployment_waits_for_the_partition_with_the_recordings(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = device.layout.state
    device.layout.deployment.write_text('deployment_id = "A"\n')
    (device.boot / "deployment.toml").write_text('deployment_id = "B"\n')
    fstab = device.layout.root / "etc/fstab"
    fstab.write_text(f"# data\nLABEL=edge-probe-data {state} ext4 noatime,nofail 0 2\n")
    for _ in range(2):
        assert device.start() == ["not edge-probe/deployment.toml"]
        assert "its partition is not mounted" in (device.boot / RESULT).read_text()
    assert device.layout.deployment.read_text() == 'deployment_id = "A"\n'
    monkeypatch.setattr("os.path.ismount", lambda path: path == state)
    state.joinpath("deployment.toml").write_text('deployment_id = "A"\n')
    assert device.start() == ["not edge-probe/deployment.toml"]
    assert "expected deployment_id A" in (device.boot / RESULT).read_text()
    state.joinpath("deployment.toml").unlink()
    (device.boot / "deployment.toml").write_text('deployment_id = "C"\n')
    assert device.start() == ["edge-probe/deployment.toml"]


def test_recordings_that_cannot_be_asked_keep_the_old_deployment(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(state: object) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("firmware_tools.stage.site_files.adopted_id", denied)
    (device.boot / "deployment.toml").write_text('deployment_id = "B"\n')
    assert device.start() == ["not edge-probe/deployment.toml"]
    assert "Permission denied" in (device.boot / "edge-probe-result.txt").read_text()


def test_a_species_list_waits_for_a_bundle(device: Device) -> None:
    device.trusts(device.layout.config)
    (device.boot / "species.csv").write_text(f"{SPECIES}{LABEL},,,\n")
    (device.boot / "settings.toml").write_text(f'{BUNDLE}species = "species.csv"\n')
    assert device.start() == ["edge-probe/settings.toml"]
    pack(device.boot / "tiny.epb")
    assert device.start() == ["edge-probe/tiny.epb", "edge-probe/species.csv"]
    (device.boot / "settings.toml").write_text(f'{BUNDLE}private = ["Parus"]\n')
    assert device.start() == ["not edge-probe/settings.toml"], "labels are known now"


def test_private_classes_that_are_older_than_the_first_bundle(device: Device) -> None:
    device.trusts(device.layout.config)
    (device.boot / "settings.toml").write_text(f'{BUNDLE}private = ["Parus major"]\n')
    assert device.start() == ["edge-probe/settings.toml"], "nobody knows the labels yet"
    pack(device.boot / "tiny.epb")
    assert device.start() == ["not edge-probe/tiny.epb"]
    said = (device.boot / "edge-probe-result.txt").read_text()
    assert "'Parus major' is no label of the bundle; did you mean Parus major_Great Tit?" in said
    assert device.release is None
    (device.boot / "settings.toml").write_text(f'{BUNDLE}private = ["{LABEL}"]\n')
    device.start()
    device.start()
    assert device.release == 7


def test_what_others_may_have_put_there_is_ignored(
    device: Device, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (device.site / "settings.toml").write_text("rate = 8000\n")
    device.site.chmod(0o777)
    (tmp_path / "secret.toml").write_text("rate = 16000\n")
    (device.boot / "settings.toml").symlink_to(tmp_path / "secret.toml")
    (device.boot / "deployment.toml").mkdir()
    assert device.start() == []
    assert device.settings == DEFAULTS.read_text()
    assert "nobody but root" in caplog.text
    with (device.boot / "species.csv").open("wb") as file:
        file.truncate(2**30)
    assert device.start() == ["not edge-probe/species.csv"]


def test_a_card_that_cannot_be_written_is_no_fault(
    device: Device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def publish(path: Path, data: bytes) -> None:
        if path.parent == device.boot:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        publish_file(path, data)

    monkeypatch.setattr("firmware_tools.stage.site.publish_file", publish)
    (device.boot / "settings.toml").write_text("rate = 8000\n")
    assert device.start() == ["edge-probe/settings.toml"]
    assert device.settings == "rate = 8000\n"
    assert "Read-only file system" in caplog.text
    assert device.start() == []


STOPS_THE_RECORDER = {
    'device = "1"\n': "a number changes",
    'device = ""\n': "expected a name",
    'device = "usb:mic"\n': "usb:VENDOR:PRODUCT",
    'keep = "detections"\n': "accept-deletion",
}


@pytest.mark.parametrize("line", STOPS_THE_RECORDER)
def test_settings_with_which_the_recorder_would_not_start(line: str, device: Device) -> None:
    (device.boot / "settings.toml").write_text(BUNDLE + line)
    assert device.start() == ["not edge-probe/settings.toml"]
    assert STOPS_THE_RECORDER[line] in (device.boot / "edge-probe-result.txt").read_text()
    assert device.settings == DEFAULTS.read_text()


def test_a_deployment_with_which_the_recorder_would_not_start(device: Device) -> None:
    (device.boot / "deployment.toml").write_text('deployment_id = "A"\nmicrophone = "1"\n')
    assert device.start() == ["not edge-probe/deployment.toml"]
    assert not device.layout.deployment.exists()


def test_settings_wait_for_the_species_list_that_they_name(device: Device) -> None:
    device.trusts(device.layout.config)
    pack(device.boot / "tiny.epb")
    (device.boot / "settings.toml").write_text(f'{BUNDLE}species = "species.csv"\n')
    assert "not edge-probe/settings.toml" in device.start()
    assert device.settings == DEFAULTS.read_text()
    (device.boot / "species.csv").write_text(f"{SPECIES}{LABEL},,,\n")
    assert device.start() == ["edge-probe/species.csv", "edge-probe/settings.toml"]


def test_names_that_are_no_utf8_and_a_trust_store_without_end(device: Device) -> None:
    device.trusts(device.layout.config)
    (device.boot / os.fsdecode(b"br\xfccke.epb")).write_bytes(b"")
    with (device.boot / "trust.json").open("wb") as file:
        file.truncate(2**36)
    assert len(device.start()) == 2
    assert "br\\udcfccke.epb: NOT" in (device.boot / "edge-probe-result.txt").read_text()
    assert len(device.start()) == 1, "without a bundle each is looked at again"


def test_a_trust_store_and_a_bundle_that_the_card_lost_are_taken_again(device: Device) -> None:
    device.trusts(device.staged)
    pack(device.staged / "tiny-7.epb")
    device.start()
    device.layout.trust.unlink()
    assert device.start() == ["staged/trust.json"]
    shutil.rmtree((device.layout.slots / "current").resolve())
    assert device.start() == ["staged/tiny-7.epb"]
    assert device.release == 7


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 512, None])
def test_a_trust_store_that_the_card_damaged_is_replaced(
    content: bytes | None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.trusts(device.staged)
    pack(device.staged / "tiny-7.epb")
    device.start()
    sound = device.layout.trust.read_bytes()
    damaged = sound.replace(b"a", b"b", 1) if content is None else content
    device.layout.trust.write_bytes(damaged)
    monkeypatch.setattr("firmware_tools.layout.Layout", lambda: device.layout)
    assert main(["setup"]) == 0, "nothing else is new"
    assert device.layout.trust.read_bytes() == sound
    aside = device.layout.config / "trust.json.damaged"
    assert aside.read_bytes() == damaged
    assert device.release == 7


def test_a_damaged_trust_store_stays_where_there_is_no_other(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any the device would be a desk, which trusts the development key."""
    device.layout.trust.write_bytes(b"{")
    (device.boot / "trust.json").write_bytes(b"[")
    assert device.start() == ["not edge-probe/trust.json"]
    assert device.layout.trust.read_bytes() == b"{"
    assert "is damaged, and nothing is trusted" in caplog.text


def test_a_selftest_that_hangs_is_refused_before_systemd_ends_setup() -> None:
    unit = (UNITS / "edge-probe-setup.service").read_text()
    assert "\nTimeoutStartSec=5min\n" in unit
    assert SELFTEST_S <= 5 * 60 - 60, "a minute for all else"


def test_a_desk_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("firmware_tools.layout.Layout", lambda: Layout(tmp_path))
    assert main(["setup"]) == 1
    assert "etc/edge-probe: no such folder\nhint: is this a device?" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_memory_that_is_lost_means_that_all_is_new_again(device: Device) -> None:
    (device.boot / "settings.toml").write_text("rate = 8000\n")
    for damaged in (b"", b"[]", b"\xff", b'{"a": 1}'):
        (device.layout.config / "seen.json").write_bytes(damaged)
        assert device.start() == ["edge-probe/settings.toml"]
    assert json.loads((device.layout.config / "seen.json").read_bytes())


def test_killed_at_any_moment_the_next_boot_makes_it_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # of use in a power cut only
    template = Device(tmp_path / "template")
    template.trusts(template.boot)
    pack(template.boot / "tiny.epb")
    (template.boot / "settings.toml").write_text(BUNDLE)
    (template.boot / "deployment.toml").write_text('deployment_id = "A"\n')
    for n_changes in count(1):
        root = tmp_path / "device"
        shutil.copytree(template.layout.root, root)
        device = Device(root)
        if not dies(device.outcomes, n_changes):
            break
        for name in ("settings.toml", "deployment.toml", "trust.json"):
            found = device.layout.config / name
            assert not found.exists() or found.read_bytes() == (device.boot / name).read_bytes()
        device.start()
        assert device.release == 7, n_changes
        assert device.settings == BUNDLE
        assert device.layout.deployment.exists()
        assert device.start() == []
        shutil.rmtree(root)
    assert n_changes > 30


def test_most_boots_import_no_numpy(device: Device) -> None:
    assert SUFFIX == transport.SUFFIX, "which imports it"
    (device.boot / "settings.toml").write_text("rate = 8000\n")
    device.start()
    code = (
        "import sys; from pathlib import Path; from firmware_tools.layout import Layout;"
        "from firmware_tools.stage.site import look;"
        f"assert look(Layout(Path({str(device.layout.root)!r}))).is_known;"
        "assert 'numpy' not in sys.modules; assert 'argparse' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
