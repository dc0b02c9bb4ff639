"""Gain, AGC, rate and format as the sound card has them."""

import shutil
from pathlib import Path

import pytest
from support.fake_alsa import FakeAlsa
from support.virtual_microphone import VirtualMicrophone

from edge_probe.capture.segment import Format
from edge_probe.health import tool
from edge_probe.health.controls import Level, parse
from edge_probe.health.identity import Device, devices
from edge_probe.health.mixer import Mixer, check_opened

MONO = Format(48_000, 1, 2)

USB_MICROPHONE = """\
Simple mixer control 'Speaker',0
  Capabilities: pvolume pswitch pswitch-joined
  Playback channels: Front Left - Front Right
  Limits: Playback 0 - 37
  Mono:
  Front Left: Playback 20 [54%] [-17.00dB] [on]
  Front Right: Playback 20 [54%] [-17.00dB] [on]
Simple mixer control 'Mic',0
  Capabilities: pvolume pvolume-joined cvolume cvolume-joined pswitch pswitch-joined cswitch
  Playback channels: Mono
  Capture channels: Mono
  Limits: Playback 0 - 31 Capture 0 - 35
  Mono: Playback 23 [74%] [16.00dB] [off] Capture 30 [86%] [18.94dB] [on]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [on]
"""

STEREO_INTERFACE = """\
Simple mixer control 'Mic',0
  Capabilities: cvolume cswitch
  Capture channels: Front Left - Front Right
  Limits: Capture 0 - 127
  Front Left: Capture 127 [100%] [0.00dB] [on]
  Front Right: Capture 63 [50%] [-32.00dB] [off]
Simple mixer control 'Mic',1
  Capabilities: cvolume cvolume-joined cswitch cswitch-joined
  Capture channels: Mono
  Limits: Capture 0 - 127
  Mono: Capture 0 [0%] [-99999.99dB] [on]
"""

CODEC = """\
Simple mixer control 'Front Mic Boost',0
  Capabilities: volume
  Playback channels: Front Left - Front Right
  Capture channels: Front Left - Front Right
  Limits: 0 - 3
  Front Left: 2 [67%] [20.00dB]
  Front Right: 2 [67%] [20.00dB]
Simple mixer control 'ALC Function',0
  Capabilities: enum
  Items: 'Off' 'Right' 'Left' 'Stereo'
  Item0: 'Stereo'
Simple mixer control 'ALC Mode',0
  Capabilities: enum
  Items: 'ALC' 'Limiter'
  Item0: 'ALC'
Simple mixer control 'ALC Max Gain',0
  Capabilities: volume volume-joined
  Playback channels: Mono
  Capture channels: Mono
  Limits: 0 - 7
  Mono: 7 [100%]
"""


def test_a_usb_microphone_is_read() -> None:
    speaker, mic, agc = parse(USB_MICROPHONE)
    assert not speaker.levels
    assert list(mic.levels) == [Level("Mono", 86, 18.94)]
    assert mic.capturing is True
    assert (agc.is_agc, agc.is_on, agc.off) == (True, True, "off")
    assert not mic.is_agc
    assert not speaker.is_agc


def test_a_stereo_interface_is_read_by_channel() -> None:
    stereo, master = parse(STEREO_INTERFACE)
    assert [level.db for level in stereo.levels] == [0, -32]
    assert [level.channel for level in stereo.levels] == ["Front Left", "Front Right"]
    assert stereo.capturing is False
    assert (master.label, master.selector) == ("Mic,1", "'Mic',1")


def test_a_codec_is_read() -> None:
    boost, function, mode, most = parse(CODEC)
    assert [level.db for level in boost.levels] == [20, 20]
    assert (function.is_agc, function.is_on, function.off) == (True, True, "Off")
    assert not mode.is_agc  # nothing of it is off
    assert most.levels[0].db is None


def test_an_answer_that_is_none_gives_nothing() -> None:
    assert list(parse("")) == []
    assert list(parse("amixer: something\n  Mono: 3 [9%]\n")) == []


@pytest.fixture
def alsa(tmp_path: Path) -> FakeAlsa:
    machine = FakeAlsa(tmp_path)
    machine.plug(2, "Device", "USB PnP Sound Device", "0d8c:0014")
    return machine


def device(alsa: FakeAlsa) -> Device:
    (found,) = devices([(0, "USB Audio: - (hw:2,0)")], alsa.root)
    return found


def checked(mixer: Mixer, alsa: FakeAlsa) -> tuple[dict[str, float], dict[str, str]]:
    rows, alarms = mixer.check(device(alsa), 0)
    return {row.name: row.value for row in rows}, {alarm.name: alarm.text for alarm in alarms}


@pytest.mark.parametrize("gain_db", [12.0, -7.5, 0.0, 34.5])
def test_the_gain_is_set_and_read_back(alsa: FakeAlsa, gain_db: float) -> None:
    alsa.mixer(raw=3, capture="off", agc="on")
    rows, alarms = checked(Mixer(gain_db, amixer=str(alsa.amixer)), alsa)
    assert rows["gain.Mic,0"] == gain_db
    assert rows["agc.Auto Gain Control,0"] == 0  # it would change what was set
    assert not alarms


def test_without_a_gain_nothing_is_changed_but_told(alsa: FakeAlsa) -> None:
    alsa.mixer(raw=8, capture="off", agc="on")
    rows, alarms = checked(Mixer(None, amixer=str(alsa.amixer)), alsa)
    assert rows == {"gain.Mic,0": 0, "gain_percent.Mic,0": 25, "agc.Auto Gain Control,0": 1}
    assert set(alarms) == {"muted.Mic,0", "agc.Auto Gain Control,0"}


def test_a_card_that_does_not_obey_is_an_alarm(alsa: FakeAlsa) -> None:
    alsa.mixer(raw=8, capture="off", stubborn="yes")
    _, alarms = checked(Mixer(12.0, amixer=str(alsa.amixer)), alsa)
    assert set(alarms) == {"gain", "muted.Mic,0", "agc.Auto Gain Control,0"}
    assert "expected a gain of 12 dB, read back 0.00 dB of Mic,0" in alarms["gain"]


def test_a_gain_beyond_the_card_is_an_alarm(alsa: FakeAlsa) -> None:
    _, alarms = checked(Mixer(40.0, amixer=str(alsa.amixer)), alsa)
    assert "read back 34.50 dB" in alarms["gain"]


def test_a_control_that_is_not_there_is_an_alarm(alsa: FakeAlsa) -> None:
    assert not checked(Mixer(12.0, "Mic", amixer=str(alsa.amixer)), alsa)[1]
    _, alarms = checked(Mixer(12.0, "Line", amixer=str(alsa.amixer)), alsa)
    assert "found no single control named 'Line': this card has Mic,0" in alarms["gain"]


def test_a_missing_amixer_is_said_once_and_stops_nothing(
    alsa: FakeAlsa, caplog: pytest.LogCaptureFixture
) -> None:
    silent = Mixer(None, amixer="/nowhere/amixer")
    for _ in range(3):
        assert checked(silent, alsa) == ({}, {})
    assert len(caplog.messages) == 1
    assert "apt install alsa-utils" in caplog.messages[0]
    _, alarms = checked(Mixer(12.0, amixer="/nowhere/amixer"), alsa)
    assert "expected a gain of 12 dB, cannot set it" in alarms["gain"]


def test_an_amixer_that_hangs_is_given_up(alsa: FakeAlsa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "TIMEOUT_S", 0.3)
    alsa.mixer(hangs="yes")
    _, alarms = checked(Mixer(12.0, amixer=str(alsa.amixer)), alsa)
    assert "no answer within 0.3 s" in alarms["gain"]


def test_an_open_card_is_compared_with_what_is_written_down(alsa: FakeAlsa) -> None:
    alsa.run(2, 48_000, "S16_LE")
    rows, alarms = check_opened(device(alsa), MONO, 0, alsa.root)
    assert [(row.name, row.value, row.text) for row in rows] == [
        ("alsa_rate", 48_000, ""), ("alsa_bits", 16, "S16_LE")
    ]  # fmt: skip
    assert not alarms
    _, alarms = check_opened(device(alsa), Format(192_000, 1, 3), 0, alsa.root)
    assert [alarm.name for alarm in alarms] == ["rate", "format"]
    assert "expected 192000 Hz, the card runs at 48000 Hz" in alarms[0].text


@pytest.mark.parametrize(("name", "n_bits"), [
    ("S16_LE", 16), ("S24_3LE", 24), ("S24_LE", 24), ("S32_LE", 32), ("FLOAT_LE", 0), ("U8", 8),
])  # fmt: skip
def test_bits_are_read_from_names(alsa: FakeAlsa, name: str, n_bits: int) -> None:
    alsa.run(2, 48_000, name)
    rows, _ = check_opened(device(alsa), MONO, 0, alsa.root)
    assert rows[1].value == n_bits


def test_a_card_that_nobody_opened_means_another_one_is_recorded(alsa: FakeAlsa) -> None:
    alsa.stop(2)
    _, alarms = check_opened(device(alsa), MONO, 0, alsa.root)
    assert [alarm.name for alarm in alarms] == ["rerouted"]


@pytest.mark.live
def test_the_real_amixer_understands_us(alsa: FakeAlsa, tmp_path: Path) -> None:
    """Its only card here is a sound server's, which has a gain but no decibels."""
    if VirtualMicrophone.missing() or not shutil.which("amixer"):
        pytest.skip(f"needs amixer (Debian: alsa-utils); {VirtualMicrophone.missing()}")
    (tmp_path / "home").mkdir()
    server = VirtualMicrophone(tmp_path / "home", 48_000)
    try:
        with (tmp_path / "home/.asoundrc").open("a") as rc:
            rc.write('ctl.server { type pulse device "field.monitor" }\n')
        program = tmp_path / "real_amixer"
        kept = ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")
        exports = "".join(f"export {key}={server.environment[key]}\n" for key in kept)
        program.write_text(f'#!/bin/sh\n{exports}shift 2\nexec amixer -D server "$@"\n')
        program.chmod(0o755)
        rows, alarms = checked(Mixer(-12.5, amixer=str(program)), alsa)
    finally:
        server.close()
    assert rows["gain_percent.Capture,0"] == 100
    assert alarms == {
        "gain": f"{device(alsa).identity}: expected a gain of -12.5 dB, but Capture,0 knows no"
        " decibels"
    }
