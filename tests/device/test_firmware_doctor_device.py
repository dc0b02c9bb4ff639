"""What the doctor says of a device: microphone, settings, trust, bundle, and what runs."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.examined_board import (
    REPOSITORY,
    Programs,
    before_others,
    installed,
    judged,
    on,
    one,
    poisoned,
    say,
    says,
)
from support.made_boards import CARDS, MICROPHONE, PCM, write
from support.owner import TRUSTED
from support.recorded_state import RECORDING

from edge_probe.alive.status import Classifier
from edge_probe.bundle.trust import write_store
from edge_probe.lock import CLASSIFIER_LOCK, hold
from firmware_tools.doctor import (
    bundle,
    service,
    sound,
)
from firmware_tools.doctor import settings as device_settings
from firmware_tools.doctor.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return on(tmp_path / "root", "pi-zero-2w")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    return before_others(tmp_path / "bin", monkeypatch)


# The microphone


def test_the_microphone(host: Host) -> None:
    assert says(one(host, "microphone"), "ok", f"^{MICROPHONE}$")
    write(host.path("proc/asound/pcm"), PCM.replace(" : capture 1", ""))
    assert says(one(host, "microphone"), "fail", f"no microphone.*expected {MICROPHONE}", "I2S")
    shutil.rmtree(host.path("proc/asound"))
    assert says(one(host, "microphone"), "fail", "no microphone")


def named(host: Host, microphone: str | None) -> None:
    line = f'microphone = "{microphone}"\n' if microphone else ""
    write(host.layout.deployment, f'deployment_id = "hill-1"\n{line}capture_gain_db = 18.0\n')


def test_the_microphone_must_be_the_one_that_is_named(host: Host) -> None:
    named(host, "usb:16d0:06f3")
    found = one(host, "microphone")
    assert says(found, "fail", "'usb:16d0:06f3': no such microphone", re.escape(MICROPHONE))
    named(host, "card:USB PnP Sound Device")  # the name of a card that is on USB means it, too
    assert says(one(host, "microphone"), "ok", MICROPHONE)
    named(host, "fieldmic")
    assert says(one(host, "microphone"), "unknown", "'fieldmic' is no card")
    named(host, None)
    assert says(one(host, "microphone"), "ok", "the only one; name it")
    write(host.path("proc/asound/cards"), f"{CARDS} 2 [Mic            ]: simple-card - Mic\n")
    write(host.path("proc/asound/pcm"), f"{PCM}02-00: I2S : I2S : capture 1\n")
    assert says(one(host, "microphone"), "warn", f"several.*{MICROPHONE}; card:Mic", "name one")
    write(host.layout.settings, f'rate = 48000\ndevice = "{MICROPHONE}"\n')
    assert says(one(host, "microphone"), "ok", f"^{MICROPHONE}$")


def test_the_rate(host: Host) -> None:
    assert says(one(host, "rate"), "ok", "it can 48000, 44100 Hz; 48000 are wanted")
    write(host.layout.settings, "rate = 96000\n")
    assert says(one(host, "rate"), "fail", "96000 are wanted", "rate = ")
    write(host.path("proc/asound/card1/pcm0c/sub0/hw_params"), "format: S16_LE\nrate: 48000 (1)\n")
    assert says(one(host, "rate"), "fail", "runs at 48000 Hz, S16_LE; expected 96000")
    write(host.layout.settings, "")
    assert says(one(host, "rate"), "ok", "it runs at 48000 Hz")
    host.path("proc/asound/card1/pcm0c/sub0/hw_params").unlink()
    assert says(one(host, "rate"), "ok", "leave it to the card")
    host.path("proc/asound/card1/stream0").unlink()
    assert says(one(host, "rate"), "unknown", "lists no rates")


@pytest.mark.parametrize(("rate", "level"), [(8_000, "ok"), (384_000, "ok"), (400_000, "fail")])
def test_a_span_of_rates(rate: int, level: str) -> None:
    facts = sound.RateFacts(rate, None, "8000 - 384000 (continuous)")
    assert says(sound.judge_rate(facts), level, str(rate))


MIXER = """cat <<END
Simple mixer control 'Mic',0
  Capabilities: cvolume cvolume-joined cswitch cswitch-joined
  Capture channels: Mono
  Limits: Capture 0 - 31
  Mono: Capture 20 [64%] {level} [{capture}]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [{agc}]
END"""


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        ({}, "ok", "Mic,0 18.00 dB, as deployment.toml says"),
        ({"level": "[20.00dB]"}, "warn", "20.00 dB; 18 dB are named"),
        ({"level": ""}, "warn", "64 %; 18 dB are named"),
        ({"capture": "off"}, "warn", "capture is switched off: Mic,0"),
        ({"agc": "on"}, "warn", "changes its gain by itself: Auto Gain Control,0"),
    ],
)
def test_the_gain(
    host: Host, programs: Programs, change: dict[str, str], level: str, text: str
) -> None:
    usual = {"level": "[18.00dB]", "capture": "on", "agc": "off"}
    programs("amixer", MIXER.format(**usual | change))
    assert says(one(host, "gain"), level, text)


def test_a_gain_that_nobody_named_or_that_the_card_does_not_tell(
    host: Host, programs: Programs
) -> None:
    programs("amixer", MIXER.format(level="[18.00dB]", capture="on", agc="off"))
    host.layout.deployment.unlink()
    assert says(one(host, "gain"), "warn", "18.00 dB: none is named", "capture_gain_db")
    programs("amixer", "echo 'Invalid card number'; exit 1")
    assert says(one(host, "gain"), "unknown", "Invalid card number")


# What the device was told, and what it trusts


def test_settings_and_deployment_file(host: Host) -> None:
    assert says(one(host, "settings"), "ok", "48000 Hz, 1 channel.*keep all")
    assert says(one(host, "deployment"), "ok", "hill-1")
    write(host.layout.settings, "rate = fast\n")
    assert says(one(host, "settings"), "fail", "the recorder does not start so", "key = value")
    write(host.layout.settings, 'rate = "48000"\n')
    assert says(one(host, "settings"), "fail", "rate = '48000' cannot be meant")
    write(host.layout.settings, "rates = 48000\n")
    assert says(one(host, "settings"), "fail", "unknown key rates.*does not start so", "rate")
    write(host.layout.settings, 'device = "1"\n')
    assert says(one(host, "settings"), "fail", "a number changes.*does not start so", "by name")
    host.layout.settings.unlink()
    assert says(one(host, "settings"), "ok", "defaults")
    write(host.layout.deployment, 'deployment_id = "hill-1"\nmicrofone = "x"\n')
    assert says(one(host, "deployment"), "fail", "unknown key microfone", "microphone")
    write(host.layout.deployment, 'deployment_id = "hill-1"\nmicrophone = "1"\n')
    assert says(one(host, "deployment"), "fail", "a number changes.*does not start so")
    host.layout.deployment.unlink()
    assert says(one(host, "deployment"), "warn", "nobody will know where")
    assert device_settings.look_orders(host) == device_settings.Orders()


def test_trust(host: Host) -> None:
    assert says(one(host, "trust"), "warn", "not staged.*everybody has that key", "edge-firmware")
    write(host.layout.units / bundle.CLASSIFIER_UNIT, "[Unit]\n")
    assert says(one(host, "trust"), "fail", "no /etc/edge-probe/trust.json: the classifier")
    write_store(host.layout.trust, TRUSTED)
    host.layout.trust.chmod(0o644)
    found = one(host, "trust")
    assert says(found, "ok", f"primary key {TRUSTED[0].id} from release 5; backup key .* release 2")
    host.layout.trust.chmod(0o666)
    assert says(one(host, "trust"), "fail", "others than root may change it", "chmod 644")
    host.layout.trust.chmod(0o600)
    assert says(one(host, "trust"), "fail", "the classifier may not read it", "chmod 644")
    write(host.layout.trust, "{}")
    assert says(one(host, "trust"), "fail", "expected a trust store.*nothing is trusted")
    host.layout.trust.unlink()
    host.layout.trust.symlink_to("nowhere")
    assert says(one(host, "trust"), "fail", "cannot be read: No such file.*nothing is trusted")


def test_the_bundle_in_use(host: Host, tmp_path: Path) -> None:
    assert says(one(host, "bundle"), "warn", "none is installed", "edge-firmware install")
    slot = installed(host, tmp_path)
    assert says(one(host, "bundle"), "fail", "refused: no key that is trusted here signed")
    write_store(host.layout.trust, TRUSTED)
    found = one(host, "bundle")
    assert says(found, "ok", r"tiny@\w+, release 7, signed by the primary key .*, in slot a$")
    with (slot / "labels.txt").open("a") as file:
        file.write("x")
    assert says(one(host, "bundle"), "fail", "refused: .*labels.txt")
    shutil.rmtree(slot)
    assert says(one(host, "bundle"), "fail", "slots/current leads to a, which is not there")


def test_a_bundle_whose_opening_dies_is_a_sentence(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(host, tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{poisoned(tmp_path, 'safetensors')}:{REPOSITORY}")
    assert says(one(host, "bundle"), "fail", "dies when it is loaded: an illegal instruction")


def test_trials(host: Host) -> None:
    assert says(one(host, "trial"), "ok", "^no trial is pending$")
    record: dict[str, Any] = {"format": "edge-probe slots", "trial": None, "last": None}
    path = host.layout.slots / "slots.json"
    write(path, json.dumps(record))
    assert says(one(host, "trial"), "ok", "no trial is pending")
    last = {"bundle": "tiny@1", "result": "confirmed", "reason": "it ran"}
    write(path, json.dumps(record | {"last": last}))
    assert says(one(host, "trial"), "ok", "tiny@1 was confirmed")
    write(path, json.dumps(record | {"last": last | {"result": "refused", "reason": "too slow"}}))
    assert says(one(host, "trial"), "warn", "tiny@1 was refused: too slow", "edge-firmware slots")
    trial = {"kept": {"bundle": "tiny@2"}, "boots": ["x"]}
    write(path, json.dumps(record | {"last": last, "trial": trial}))
    assert says(one(host, "trial"), "warn", "tiny@2 is on trial, tried in 1 boots")
    for text in ("{", "[]", '{"format": "edge-probe slots", "trial": {"boots": 3}, "last": 0}'):
        write(path, text)
        assert says(one(host, "trial"), "unknown", "damaged", "edge-firmware slots")


# What runs


def test_the_recorder(host: Host) -> None:
    assert says(one(host, "recorder"), "warn", "^no recorder runs$", "systemctl start")
    healthy = replace(RECORDING, alarms=(), state="recording", last_frame_age_s=0.1)
    say(host, healthy, age_s=4000)
    assert says(one(host, "recorder"), "fail", "no recorder runs, last sign 1h06 ago")
    say(host, replace(healthy, state="stopped"))
    assert says(one(host, "recorder"), "warn", "no recorder runs")
    with hold(host.state):
        say(host, healthy, age_s=4000)
        assert says(one(host, "recorder"), "warn", "says nothing new")
        say(host, healthy)
        assert says(one(host, "recorder"), "ok", f"process {os.getpid()} records")
        for change, level, text in (
            ({"state": "no microphone"}, "fail", "does not record: no microphone"),
            ({"state": "off hours", "last_frame_age_s": None}, "ok", "off hours by its schedule"),
            ({"last_frame_age_s": 60.0}, "fail", "no sample came for 1min"),
            ({"last_frame_age_s": None}, "fail", "no sample came for ever"),
            ({"alarms": ("flat_line",)}, "warn", "alarms: flat_line"),
        ):
            say(host, replace(healthy, **change))
            assert says(one(host, "recorder"), level, text)


def test_the_classifier(host: Host) -> None:
    assert says(one(host, "classifier"), "unknown", "no recorder that tells")
    for classifier, level, text in (
        (Classifier("running", 12.0, 0), "ok", "running, 12s behind"),
        (Classifier("running", 12.0, 3), "warn", "started again 3 times"),
        (Classifier("record-only", 700.0, 9), "warn", "record-only, 11min behind"),
        (None, "unknown", "no recorder that tells"),
    ):
        say(host, replace(RECORDING, classifier=classifier))
        with hold(host.state):
            assert says(one(host, "classifier"), level, text)


def test_a_classifier_is_asked_itself_where_the_last_word_is_older(host: Host) -> None:
    """Right after a boot: READY, while the status of 20 s ago says that it does not run."""
    say(host, replace(RECORDING, classifier=Classifier("not running", 12.0, None)), age_s=20)
    with hold(host.state):
        assert says(one(host, "classifier"), "warn", "^not running, 12s behind")
        with hold(host.state, CLASSIFIER_LOCK):
            assert says(one(host, "classifier"), "ok", "^running, 12s behind")
        say(host, replace(RECORDING, classifier=Classifier("running", 12.0, None)), age_s=20)
        assert says(one(host, "classifier"), "warn", "^not running, 12s behind")


UP = {
    "LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active",
    "SubState": "running", "Result": "success", "NRestarts": "0", "AssertResult": "yes",
    "ConditionResult": "yes", "ConditionTimestampMonotonic": "22000000",
}  # fmt: skip


DOWN = {"ActiveState": "inactive", "SubState": "dead"}
NEVER_TRIED = {"ConditionResult": "no", "AssertResult": "no", "ConditionTimestampMonotonic": "0"}


@pytest.mark.parametrize(
    ("unit", "change", "level", "text"),
    [
        (service.RECORDER, {}, "ok", "active, running, starts at boot"),
        (service.RECORDER, {"LoadState": "not-found"}, "warn", "is not installed"),
        (service.RECORDER, {"ActiveState": "failed", "Result": "watchdog"}, "fail", "watchdog"),
        (service.RECORDER, {"UnitFileState": "disabled"}, "fail", "does not start at boot"),
        (service.RECORDER, DOWN, "fail", "is inactive"),
        (service.RECORDER, {"NRestarts": "254"}, "warn", "started again 254 times"),
        (service.SETUP, DOWN, "ok", "dead"),
        (service.CLASSIFIER, DOWN | {"ConditionResult": "no"}, "warn", "waits"),
        (service.CLASSIFIER, DOWN | {"AssertResult": "no"}, "fail", "insists on is not there"),
        (service.CLASSIFIER, DOWN | NEVER_TRIED, "fail", "is inactive"),
    ],
)
def test_a_unit(unit: str, change: dict[str, str], level: str, text: str) -> None:
    found = service.judge_unit((unit, UP | change))
    assert says(found, level, text)
    assert level == "ok" or found.hint


def test_systemd_is_asked_where_it_runs(host: Host, programs: Programs) -> None:
    names = "recorder-service", "classifier-service", "setup-service", "failed-units"
    assert {found.level for found in judged(host, *names).values()} == {"unknown"}
    host.path("run/systemd/system").mkdir(parents=True)
    shown = "\n".join(f"{name}={value}" for name, value in UP.items())
    programs("systemctl", f"[ $1 = show ] && cat <<END\n{shown}\nEND\ntrue")
    assert {found.level for found in judged(host, *names).values()} == {"ok"}
    programs("systemctl", "echo 'chrony.service loaded failed failed a clock'")
    assert says(one(host, "failed-units"), "warn", "^chrony.service$", "journalctl")
    programs("systemctl", "echo 'Failed to connect to bus'; exit 1")
    assert says(one(host, "recorder-service"), "unknown", "Failed to connect to bus")


def test_the_watchdog(host: Host) -> None:
    folder = host.path("sys/class/watchdog/watchdog0")
    assert says(one(host, "watchdog"), "warn", "BCM2835.*does not run", "RuntimeWatchdogSec")
    write(folder / "state", "active\n")
    assert says(one(host, "watchdog"), "ok", "runs, 15 s")
    (folder / "state").unlink()
    assert says(one(host, "watchdog"), "unknown", "nobody says")
    shutil.rmtree(folder)
    assert says(one(host, "watchdog"), "warn", "^none", "dtparam=watchdog=on")


def test_the_boot_partition(host: Host) -> None:
    assert says(one(host, "boot-partition"), "ok", "2 entries$")
    site = host.path("boot/firmware/edge-probe")
    site.mkdir()
    assert says(one(host, "boot-partition"), "ok", "with files for this device")
    said = "a.epb: installed\nsettings.toml: NOT TAKEN OVER: unknown key rat\n"
    write(site / "edge-probe-result.txt", said)
    found = one(host, "boot-partition")
    assert says(found, "warn", "device: settings.toml: NOT.*key rat$", "mend the file")
    write(site / "edge-probe-result.txt", "a.epb: installed\n")
    assert one(host, "boot-partition").level == "ok"
    write(host.state / "site/edge-probe-result.txt", said)
    assert one(host, "boot-partition").level == "warn"
    host.path("boot/firmware/config.txt").unlink()
    assert says(one(host, "boot-partition"), "fail", "no config.txt", "fsck")
    shutil.rmtree(host.path("boot"))
    assert says(one(host, "boot-partition"), "fail", "no config.txt")
    host.path("proc/device-tree/model").unlink()
    assert says(one(host, "boot-partition"), "unknown", "not a Raspberry Pi OS")
