"""Install, trial, slots: two bundles on a device, a switch between them, and a way back."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.analysed_state import small_bundle
from support.child import environment
from support.numbered_source import VirtualClock
from support.owner import THIEF
from support.slotted_device import Device, packed, spoilt, use
from support.tiny_bundle import GOLDEN

from edge_probe.analysis.tables import TABLES
from edge_probe.bundle import RejectedBundleError, Rejection, open_bundle, verify
from edge_probe.bundle.reject import reject
from edge_probe.bundle.sign import sign_with_development_key
from edge_probe.bundle.signature import PREFIX
from edge_probe.bundle.transport import Offer, pack_bundle, read_offer
from edge_probe.bundle.trust import DEVELOPMENT, read_store
from edge_probe.errors import BundleError, EdgeProbeError, StateError
from edge_probe.spec import WindowSpec
from firmware_tools.cli import main
from firmware_tools.slots import check
from firmware_tools.slots.evidence import on_duty
from firmware_tools.slots.folder import MAX_RECORD_BYTES
from firmware_tools.slots.install import RefusedBundleError, refuse
from firmware_tools.slots.record import MAX_REFUSED, Kept, Outcome, Record, parse
from firmware_tools.slots.service import Service
from firmware_tools.slots.trial import Rules, Seen, judge

WINDOWS = WindowSpec(3, 2, 0.1)


def kept(device: Device) -> tuple[int | None, int | None, int | None]:
    """Releases: good, previous, on trial."""
    record = device.record
    trial = record.trial.kept if record.trial else None
    good, previous, trying = (
        one.release if one else None for one in (record.good, record.previous, trial)
    )
    return good, previous, trying


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


def test_the_commands(device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a device: every part that is a process of its own is one."""
    epb = packed(tmp_path, 7)
    assert main(["install", str(epb)]) == 0
    assert "release 7: on trial in slot a\n" in capsys.readouterr().out
    assert (device.runs, kept(device)) == (7, (None, None, 7))
    assert device.calls[-2:] == [
        "restart --no-block edge-probe-classifier.service",
        "start --no-block edge-probe-trial.service",
    ]
    assert main(["install", str(epb)]) == 0
    assert "release 7: on trial in slot a already\n" in capsys.readouterr().out
    bad = packed(tmp_path, 8, spoilt(tmp_path))
    assert main(["install", str(bad)]) == 1
    assert "does not work on this device: selftest: tokens differs" in capsys.readouterr().err
    assert (device.runs, kept(device)) == (7, (None, None, 7))
    assert main(["slots"]) == 0
    shown = capsys.readouterr().out
    assert "on trial  tiny@" in shown
    assert re.search(r"refused   tiny@\w+, release 8: selftest: tokens differs by", shown)
    assert main(["slots", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record"]["trial"]["kept"]["release"] == 7


def test_a_look_at_the_slots_loads_no_arrays(device: Device, tmp_path: Path) -> None:
    device.install(packed(tmp_path, 7))
    code = (
        "import sys; from pathlib import Path; from firmware_tools import layout;"
        f"device = layout.Layout(Path({str(device.layout.root)!r}));"
        "layout.Layout = lambda: device; from firmware_tools.cli import main;"
        "assert main(['slots', '--json']) == 0;"
        "assert not {'numpy', 'safetensors', 'subprocess'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_what_was_refused_is_refused_again(device: Device, tmp_path: Path) -> None:
    bad = packed(tmp_path, 8, spoilt(tmp_path))
    n_proofs = 0

    def prove(*_: object) -> None:
        nonlocal n_proofs
        n_proofs += 1
        raise check.FailedError("it is no good")

    for again, n_expected, message in (
        (False, 1, "does not work"), (False, 1, "was refused before"), (True, 2, "does not work"),
    ):  # fmt: skip
        with pytest.raises(RefusedBundleError, match=f"{message}.*: it is no good"):
            device.install(bad, prove=prove, again=again)
        assert n_proofs == n_expected
    assert len(device.record.refused) == 1
    assert device.install(bad, prove=lambda *_: None, again=True).on_trial
    assert not device.record.refused


def test_the_record_stays_small() -> None:
    record = Record()
    for release in range(1, MAX_REFUSED + 3):
        found = Kept("a", f"tiny@{release:012}", f"{release:064}", release, "key")
        record = refuse(record, found, "\u2028" * 10**6)
    assert [one.release for one in record.refused] == list(range(3, MAX_REFUSED + 3))
    assert len(record.to_bytes()) < MAX_RECORD_BYTES
    assert parse(record.to_bytes()) == record


def test_a_bundle_that_crashes_or_hangs_its_selftest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    monkeypatch.setattr("sys.executable", str(program))
    for how, reason in (("kill -ILL $$", "signal 4"), ("kill -9 $$", "memory runs out"),
                        ("exit 5", "status 5"), ("exec sleep 9", "did not end"),
                        ("echo {", "without an answer")):  # fmt: skip
        program.write_text(f"#!/bin/sh\n{how}\n")
        program.chmod(0o755)
        with pytest.raises(check.FailedError, match=reason):
            check.selftest(tmp_path, tmp_path, timeout_s=3)


def test_the_trial_measures_time_and_memory(device: Device, tmp_path: Path) -> None:
    device.install(packed(tmp_path, 7, small_bundle(tmp_path / "small", WINDOWS).path))
    (device.systemd / "MemoryMax").write_text("1000000\n")
    outcome = device.trial(measure=check.measure)
    assert outcome
    assert re.fullmatch(r"it takes \d\d+ MiB of memory, allowed are 1", outcome.reason)
    (device.systemd / "MemoryMax").write_text(f"{2**40}\n")
    device.install(tmp_path / "tiny-7.epb", again=True)
    assert (outcome := device.trial(measure=lambda *_: check.Measured(0.0129, 0.016, 10**6)))
    assert outcome.reason == (
        "it takes 0.01 s (95th percentile) for 0.016 s of audio: 0.81 of real time, allowed are 0.8"
    )
    assert device.runs is None, "there was none before"
    assert device.calls[-1] == "restart --no-block edge-probe-classifier.service"


CASES = [
    (Seen(0, 0, 0, 0, 0), None),
    (Seen(599, 599, 9999, 3, 0), None),
    (Seen(600, 7799, 599, 3, 0), None),
    (Seen(9e4, 7799, 599, 3, 0), "unproven"),
    (Seen(9e4, 0, 0, 0, 0), "unproven"),
    (Seen(600, 600, 600, 3, 0), "confirmed"),
    (Seen(600, 600, 600, 4, 0), "refused"),
    (Seen(600, 600, 600, 0, 1), "refused"),
    (Seen(7800, 7800, 599, 0, 0), "refused"),
]


@pytest.mark.parametrize(("seen", "result"), CASES)
def test_nothing_is_confirmed_without_evidence(seen: Seen, result: str | None) -> None:
    found = judge(seen, Rules())
    assert (found and found[0]) == result


def test_boots_without_a_result(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 6))
    device.install(packed(tmp_path, 7), clock=VirtualClock(kernel_id="boot 0"))
    rules = Rules(give_up_s=0)
    for boot in range(3):
        device.cut_short(VirtualClock(kernel_id=f"boot {boot}"))
        assert (device.runs, kept(device)) == (7, (6, None, 7))
    outcome = device.trial(rules, clock=VirtualClock(kernel_id="boot 3"))
    assert outcome
    assert (outcome.result, outcome.reason) == ("refused", "3 boots went by without a result")
    assert (device.runs, kept(device)) == (6, (6, None, None))


def test_without_a_microphone_the_bundle_is_not_to_blame(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 6))
    device.install(packed(tmp_path, 7))
    assert (outcome := device.trial(Rules(give_up_s=0.3, look_s=0.1)))
    assert outcome.result == "unproven"
    assert (device.runs, kept(device)) == (6, (6, None, None))
    assert device.record.last == outcome
    assert device.install(tmp_path / "tiny-7.epb").on_trial, "it may be tried again"


def test_what_is_good_ends_a_trial(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 6))
    device.install(packed(tmp_path, 7))
    done = device.install(tmp_path / "tiny-6.epb")
    assert (done.is_new, done.on_trial) == (False, False)
    assert (device.runs, kept(device)) == (6, (6, None, None))
    assert device.calls[-1].startswith("restart")


def test_a_trial_goes_on_with_what_is_installed_meanwhile(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 6))
    device.install(packed(tmp_path, 7))
    packed(tmp_path, 8)
    packed(tmp_path, 9)
    measured: list[int | None] = []

    def measure(*_: object) -> check.Measured:
        measured.append(device.runs)
        if device.runs == 7:
            device.install(tmp_path / "tiny-8.epb")
            assert (device.runs, kept(device)) == (8, (6, None, 8))
        if device.runs == 9:
            raise check.FailedError("too slow")
        return check.Measured(0, 1, 0)

    class Meanwhile(Service):
        def n_restarts(self) -> int:
            if measured == [7, 8]:
                device.install(tmp_path / "tiny-9.epb", service=None)
            return 0

    device.service = Meanwhile()
    began = time.monotonic()
    assert (outcome := device.trial(Rules(give_up_s=60, look_s=0.1), measure=measure))
    assert time.monotonic() - began < 50, "the old one was watched to its end"
    assert (outcome.release, outcome.reason, measured) == (9, "too slow", [7, 8, 9])
    assert (device.runs, kept(device)) == (6, (6, None, None))


def test_a_device_without_slots_has_no_trial(
    device: Device, capsys: pytest.CaptureFixture[str]
) -> None:
    device.layout.trust.unlink()
    assert main(["trial"]) == 0
    assert capsys.readouterr().out == "nothing is on trial\n"
    assert not device.layout.slots.exists()
    assert main(["slots"]) == 1


def test_only_one_at_a_time(device: Device, tmp_path: Path) -> None:
    device.install(packed(tmp_path, 7))
    with device.folder.change(), pytest.raises(StateError, match="is writing there"):
        device.install(packed(tmp_path, 8))
    with device.folder.watch(), pytest.raises(StateError, match="goes on already"):
        device.trial()


def test_what_this_device_does_not_accept(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    before = device.record
    pack_dev = tmp_path / "dev.epb"
    bundle = open_bundle(GOLDEN, verify=verify.is_valid, trusted=[DEVELOPMENT])
    pack_bundle(
        bundle,
        pack_dev,
        release=9,
        sign=lambda m: sign_with_development_key(m.removeprefix(PREFIX)),
    )
    whole = packed(tmp_path, 9).read_bytes()
    (tmp_path / "cut.epb").write_bytes(whole[:-1])
    (tmp_path / "long.epb").write_bytes(whole + b"x")
    (tmp_path / "flipped.epb").write_bytes(whole[:-9] + b"?" + whole[-8:])
    for source, reason in (
        (packed(tmp_path, 8, key=THIEF), "E10"), (pack_dev, "E10"), (packed(tmp_path, 6), "E12"),
        (tmp_path / "cut.epb", "E08"), (tmp_path / "long.epb", "E08"),
        (tmp_path / "flipped.epb", "E09"), (tmp_path / "none.epb", "E07"),
    ):  # fmt: skip
        with pytest.raises(RejectedBundleError, match=reason):
            device.install(source)
        assert (device.runs, device.record) == (7, before)
        assert not device.folder.incoming.exists()


NAMED = {
    'private = ["Homo sapiens"]\n': "private: 'Homo sapiens' is no label of the bundle",
    'species = "species.csv"\n': "no label of the bundle",
}


@pytest.mark.parametrize("line", NAMED)
def test_a_bundle_that_lacks_what_the_settings_name(
    line: str, device: Device, tmp_path: Path
) -> None:
    device.confirm(packed(tmp_path, 7))
    before = device.record
    device.layout.settings.write_text(f'bundle = "/b"\n{line}')
    species = device.layout.config / "species.csv"
    species.write_text("label,from_mmdd,to_mmdd,min_score\nHomo sapiens,,,\n")
    with pytest.raises(RefusedBundleError, match=f"the settings of this device: .*{NAMED[line]}"):
        device.install(packed(tmp_path, 8))
    assert (device.runs, device.record) == (7, before), "nor is it remembered as refused"
    device.layout.settings.write_text('bundle = "/b"\nprivate = ["Parus major_Great Tit"]\n')
    assert device.install(tmp_path / "tiny-8.epb").on_trial


def test_a_file_that_changes_while_it_is_read(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.confirm(packed(tmp_path, 7))
    source = packed(tmp_path, 8)

    def read_offer_then_swap(path: Path, **options: Any) -> Offer:
        offer = read_offer(path, **options)
        packed(tmp_path, 9).replace(path)
        return offer

    monkeypatch.setattr("firmware_tools.slots.install.read_offer", read_offer_then_swap)
    with pytest.raises(BundleError, match="changed while it was read"):
        device.install(source)
    assert (device.runs, kept(device)) == (7, (7, None, None))


def test_it_needs_a_trust_store_systemd_and_room(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = packed(tmp_path, 7)
    moved = device.layout.trust.rename(tmp_path / "trust.json")
    with pytest.raises(EdgeProbeError, match="has no trust store, so it accepts no bundle"):
        device.install(source)
    moved.rename(device.layout.trust)
    monkeypatch.setattr("firmware_tools.slots.install.SPARE_BYTES", 2**60)
    with pytest.raises(StateError, match=r"needs 1099511627776 MiB, free are \d+"):
        device.install(source)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgeProbeError, match="systemctl: no such program"):
        device.install(source)
    assert device.runs is None
    assert device.install(source, service=None).on_trial, "setup runs before the classifier"


def test_slots_that_are_not_ours(device: Device, tmp_path: Path) -> None:
    source, slots = packed(tmp_path, 7), device.layout.slots
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    slots.symlink_to(elsewhere)
    with pytest.raises(StateError, match="found no folder, or a link"):
        device.install(source)
    slots.unlink()
    slots.mkdir()
    slots.chmod(0o775)
    with pytest.raises(StateError, match="found one that others may write to"):
        device.install(source)
    slots.chmod(0o755)
    (slots / "current").mkdir()
    with pytest.raises(StateError, match="expected a link to a slot"):
        device.install(source)
    (slots / "current").rmdir()
    if os.geteuid() == 0:
        os.chown(slots, 1234, 1234)
        with pytest.raises(StateError, match="found one of user 1234"):
            device.install(source)
        os.chown(slots, 0, 0)
    assert list(elsewhere.iterdir()) == []
    device.layout.state.chmod(0o775)
    with pytest.raises(StateError, match="where others may move it"):
        device.install(source)
    device.layout.state.chmod(0o1775)
    device.install(source)
    assert device.runs == 7


def test_all_may_read_what_is_installed(device: Device, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        device.confirm(packed(tmp_path, 7))
    finally:
        os.umask(before)
    paths = [device.layout.slots, device.layout.trust, *device.layout.slots.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths if not path.name.endswith("lock")}
    assert len(modes) > 8
    for path, mode in modes.items():
        assert mode & 0o004, path
        assert mode & 0o001 or not path.is_dir(), path


def test_a_record_that_was_lost(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    path = device.layout.slots / "slots.json"
    for damage in (None, b"", b"{}", path.read_bytes()[:-9], b"[" * 10**5):
        path.unlink() if damage is None else path.write_bytes(damage)
        assert device.trial() is None
        assert (device.runs, kept(device)) == (7, (7, None, None))
    device.install(packed(tmp_path, 8))
    path.unlink()
    device.settle()
    assert (device.runs, kept(device)) == (8, (7, None, 8)), "nobody knows: it is on trial"
    path.unlink()
    (device.layout.slots / "current").unlink()
    device.settle()
    assert kept(device)[0] == device.runs in (7, 8)


def test_a_card_that_forgets(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    device.confirm(packed(tmp_path, 8))
    assert kept(device) == (8, 7, None)
    good = device.record.good
    assert good
    file = device.layout.slots / good.slot / "head.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    device.settle()
    assert (device.runs, kept(device)) == (7, (7, None, None))
    device.install(tmp_path / "tiny-8.epb")
    trial = device.record.trial
    assert trial
    (device.layout.slots / trial.kept.slot / "labels.txt").unlink()
    device.settle()
    assert (device.runs, kept(device)) == (7, (7, None, None))


def test_the_only_bundle_that_the_card_damaged_is_installed_anew(
    device: Device, tmp_path: Path
) -> None:
    source = packed(tmp_path, 7)
    device.confirm(source)
    (device.layout.slots / "a/labels.txt").unlink()
    done = device.install(source)
    assert (done.is_new, done.on_trial, done.slot, device.runs) == (True, True, "b", 7)
    assert device.install(source).is_new is False, "it is on trial already"
    device.end("confirmed")
    assert (kept(device), device.runs) == ((7, None, None), 7)


@pytest.mark.parametrize("release", ["7", None, 7.0, [7], True])
def test_a_record_with_values_of_other_types_is_none(
    release: object, device: Device, tmp_path: Path
) -> None:
    device.confirm(packed(tmp_path, 7))
    path = device.layout.slots / "slots.json"
    value = json.loads(path.read_bytes())
    value["good"]["release"] = release
    path.write_text(json.dumps(value, indent=1) + "\n")
    device.install(packed(tmp_path, 8))
    assert (device.runs, kept(device)) == (8, (7, None, 8))


def test_a_signature_that_cannot_be_checked_condemns_nobody(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    device.install(packed(tmp_path, 8))
    before = device.record

    def no_process(*_: object) -> bool:
        reject(Rejection.SIGNATURE_CHECK, "no memory for a process")

    with pytest.raises(RejectedBundleError, match="E11"):
        device.settle(verify=no_process)
    assert (device.runs, device.record) == (8, before)


def test_a_classifier_that_runs_something_else_is_restarted(device: Device, tmp_path: Path) -> None:
    device.confirm(packed(tmp_path, 7))
    good = device.record.good
    assert good
    with closing(sqlite3.connect(device.layout.state / "detections.sqlite")) as db:
        for table in TABLES.split(";\n")[:3]:
            db.execute(table)
        db.execute(
            "INSERT INTO bundle VALUES (1, 'other', '', 1, 1, 1), (2, ?, '', 1, 1, 1)",
            (good.sha256,),
        )
        db.execute("INSERT INTO duty VALUES (NULL, 1, 0, 0, 0)")
        db.commit()
        for bundle, n_restarts in ((1, 1), (2, 0)):
            db.execute("INSERT INTO duty VALUES (NULL, ?, 0, 0, 0)", (bundle,))
            db.commit()
            n_before = len(device.calls)
            device.settle()
            assert len(device.calls) - n_before == n_restarts


EAGER = Rules(good_s=1, look_s=0.1, late_s=60)


def unhurried(*arguments: Any) -> check.Measured:
    """What was measured, but for the time: a busy machine is not a slow one."""
    return replace(check.measure(*arguments), p95_s=0.0)


def test_with_a_recorder_and_a_classifier_at_work(device: Device, tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "small", WINDOWS).path

    def update(release: int) -> Outcome | None:
        device.install(packed(tmp_path, release, bundle))
        return device.trial(EAGER, measure=unhurried)

    with device.alive():
        device.confirm(packed(tmp_path, 7, bundle))
        assert (second := update(8))
        assert (second.result, device.runs) == ("confirmed", 8), second.reason
        assert (kept(device), device.record.last) == ((8, 7, None), second)
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
