"""The systemd units: well-formed, closed, and open enough for what they run."""

import argparse
import ctypes
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from support import classifier, unit
from support.analysed_state import SoundCard, rows, small_bundle
from support.child import environment
from support.unit import UNITS, Unit, calls_of
from support.virtual_microphone import VirtualMicrophone

from edge_probe.alive.status import Classifier, Status, read_status
from edge_probe.analysis.process import FIRST_MARK, TELL_S
from edge_probe.analysis.rows import Key, Piece, Try
from edge_probe.analysis.store import Store
from edge_probe.analysis.worker import MAX_ATTEMPTS
from edge_probe.bundle import Bundle
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.commands.run import NOT_IN_FILE, add_arguments, settings_words
from edge_probe.disk.chores import Chores
from edge_probe.spec import WindowSpec
from firmware_tools.layout import USER, Layout

SERVICES = ("recorder", "classifier", "setup", "trial", "stick", "send")
MOUNT = "run-edge_probe_stick.mount"
RATE = 44_100

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)"
)


def service(name: str) -> Unit:
    return Unit(f"edge-probe-{name}.service")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with systemd's own units, ours, and files for every program they start."""
    root = tmp_path_factory.mktemp("root")
    layout = Layout(root)
    shutil.copytree(Layout().units, layout.units, symlinks=True)
    layout.config.mkdir(parents=True)
    for path in UNITS.glob("edge-probe*.service"):
        shutil.copy(path, layout.units)
    shutil.copy(UNITS / MOUNT, layout.units)
    for name in SERVICES:
        for command in ("ExecStart", "ExecStartPre"):
            for line in service(name).all(command):
                program = root / line.split()[0].lstrip("-/")
                program.parent.mkdir(parents=True, exist_ok=True)
                program.write_text("#!/bin/sh\n")
                program.chmod(0o755)
    return root


def verify(root: Path, *names: str) -> str:
    """What systemd has to say about units; nothing, if all is well."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", *names],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"{done.stdout}{done.stderr}" + f"exit code {done.returncode}" * bool(done.returncode)


def test_systemd_has_nothing_to_say_about_them(device: Path) -> None:
    names = [path.name for path in UNITS.iterdir() if path.suffix in (".service", ".mount")]
    assert sorted(names) == sorted([*(service(name).name for name in SERVICES), MOUNT])
    assert verify(device, *names) == ""


def test_systemd_would_have_something_to_say(device: Path) -> None:
    wrong = Layout(device).units / "edge-probe-wrong.service"
    text = service("recorder").path.read_text()
    wrong.write_text(text.replace("WatchdogSec", "WatchdocSec"))
    assert "Unknown key 'WatchdocSec'" in verify(device, wrong.name)
    wrong.write_text(text.replace("/usr/bin/edge-probe run", "/usr/bin/edge-prob run"))
    assert "edge-prob is not executable" in verify(device, wrong.name)


@pytest.mark.parametrize(
    ("name", "most"),
    [("recorder", 10), ("classifier", 10), ("send", 15), ("setup", 15), ("trial", 15),
     ("stick", 15)],
)  # fmt: skip
def test_they_are_closed(name: str, most: int) -> None:
    """By the scale of ``systemd-analyze security``, in tenths; only one may have a network."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={most}",
         service(name).path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    assert (service(name).all("PrivateNetwork") == ["yes"]) == (name != "send")


def test_scores_in_the_readme_are_of_this_order() -> None:
    """Of the version of systemd that is named there; others weigh a little differently."""
    page = (UNITS / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| .* \| ([\d.]+) \|$", page, re.MULTILINE))
    assert set(told) == set(SERVICES)
    for name, score in told.items():
        done = subprocess.run(
            ["systemd-analyze", "security", "--no-pager", "--offline=true", service(name).path],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        (found,) = re.findall(r"Overall exposure level .*: ([\d.]+) ", done.stdout)
        assert float(found) == pytest.approx(float(score), abs=0.25), name


def test_nobody_gives_up() -> None:
    for name in SERVICES:
        assert service(name).one("StartLimitIntervalSec") == "0", name
    for name in ("recorder", "classifier", "send"):
        assert service(name).one("Restart") == "always", name
    assert service("trial").one("Restart") == "on-failure"


def test_memory_has_a_limit_for_the_classifier_alone() -> None:
    assert service("classifier").one("MemoryMax").endswith("%")
    assert service("classifier").one("MemorySwapMax") == "0"
    for name in set(SERVICES) - {"classifier"}:
        assert not [key for key in ("MemoryMax", "MemoryHigh") if service(name).all(key)], name


def test_the_recorder_comes_last_where_something_has_to_go_and_first_where_something_runs() -> None:
    badness = {name: int(service(name).all("OOMScoreAdjust")[0]) for name in SERVICES
               if service(name).all("OOMScoreAdjust")}  # fmt: skip
    assert badness["recorder"] < 0
    assert badness["classifier"] == 500
    assert min(badness, key=badness.__getitem__) == "recorder"
    assert not service("recorder").all("Nice")
    assert int(service("classifier").one("Nice")) > 0
    assert int(service("recorder").one("CPUWeight")) > int(service("classifier").one("CPUWeight"))


def test_nothing_can_keep_the_recorder_from_starting() -> None:
    recorder = service("recorder")
    for key in ("Requires", "Requisite", "BindsTo", "PartOf", "RequiresMountsFor"):
        assert not recorder.all(key), key
    assert recorder.words("Wants") == ["modprobe@snd.service"]
    assert not [name for name in recorder.words("After") if "classifier" in name or "net" in name]
    for key in ("ConditionPathExists", "AssertPathExists", "ExecStartPre", "ExecCondition"):
        assert not recorder.all(key), key
    assert "edge-probe-setup.service" in recorder.words("After")
    assert service("setup").one("TimeoutStartSec") != "infinity"
    assert service("setup").one("RemainAfterExit") == "yes", "or every restart waits for it again"


def test_the_classifier_needs_a_bundle_and_a_trust_store_and_nobody() -> None:
    unit_, layout = service("classifier"), Layout()
    assert unit_.one("ConditionPathExists") == f"{layout.slots}/current/manifest.json"
    assert unit_.one("AssertPathExists") == str(layout.trust)
    for key in ("Requires", "Requisite", "BindsTo", "PartOf", "Wants"):
        assert not unit_.all(key), key


def test_both_halves_read_the_same_settings() -> None:
    usual = f"{Layout().commands}/edge-probe run --settings {Layout().settings} --only"
    assert service("recorder").one("ExecStart") == f"{usual} record"
    assert service("classifier").one("ExecStart") == f"{usual} classify"
    for name in ("recorder", "classifier"):
        assert (service(name).one("User"), service(name).one("Group")) == (USER, USER)
        assert service(name).one("ReadWritePaths") == str(Layout().state)
        assert service(name).one("Type") == "notify"
    assert float(service("recorder").one("WatchdogSec")) == 30
    assert float(service("classifier").one("WatchdogSec")) > 3 * TELL_S


def test_only_the_recorder_meets_hardware() -> None:
    assert "char-alsa rw" in service("recorder").all("DeviceAllow")
    for name in SERVICES:
        assert service(name).one("DevicePolicy") == "closed"
        assert service(name).one("ProtectSystem") == "strict"
        assert service(name).one("NoNewPrivileges") == "yes"
        if name != "recorder":
            assert service(name).one("PrivateDevices") == "yes", name
            assert not service(name).all("DeviceAllow"), name
            assert service(name).one("MemoryDenyWriteExecute") == "yes", name


def test_a_stick_runs_nothing_and_leads_nowhere() -> None:
    mount, stick = Unit(MOUNT), service("stick")
    assert {"noexec", "nosuid", "nodev", "nosymfollow"} <= set(mount.one("Options").split(","))
    assert mount.one("What") == "/dev/disk/by-label/EDGEPROBE"
    where = mount.one("Where")
    name = where.strip("/").replace("/", "-")
    assert mount.name == f"{name}.mount"
    assert stick.one("ExecStart").endswith(f"edge-firmware stick {where}")
    assert stick.one("AssertPathIsMountPoint") == where
    assert stick.one("Wants") == mount.name
    assert mount.name in stick.words("After")
    escaped = subprocess.run(
        ["systemd-escape", "--path", "--suffix=device", mount.one("What")],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert stick.one("WantedBy") == escaped


def test_the_settings_that_come_along_say_what_is_meant_without_them(tmp_path: Path) -> None:
    text = (UNITS / "settings.toml").read_text(encoding="utf-8")
    assert settings_words(UNITS / "settings.toml") == [f"--bundle={Layout().slots}/current"]
    every = tmp_path / "settings.toml"
    every.write_text(re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    defaults = vars(parser.parse_args([]))
    told = vars(parser.parse_args(settings_words(every)))
    free = {"bundle", "device", "rate", "quota", "species", "private"}  # no value is the default
    free |= {"gate", "gate_low", "gate_high"}
    assert {name for name in told if told[name] != defaults[name]} == free
    known = {name.replace("_", "-") for name in defaults if name not in NOT_IN_FILE}
    assert known - {"deployment"} == set(re.findall(r"^#? ?([a-z-]+) = ", text, re.MULTILINE))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users and owners of a new root")
def test_user_and_folders_are_made_as_the_layout_says(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (tmp_path / "etc").mkdir()
    for tool, options in (("sysusers", []), ("tmpfiles", ["--create"])):
        target = tmp_path / f"usr/lib/{tool}.d"
        target.mkdir(parents=True)
        shutil.copy(UNITS / f"edge-probe.{tool}", target / "edge-probe.conf")
        # setup makes the folders on a partition that is mounted late, within its rules
        within = _within("setup") if tool == "tmpfiles" else []
        command = [*within, f"systemd-{tool}", f"--root={tmp_path}", *options, "edge-probe.conf"]
        subprocess.run(command, check=True)
    users = (tmp_path / "etc/passwd").read_text()
    groups = (tmp_path / "etc/group").read_text()
    (gid,) = re.findall(rf"^{USER}:x:(\d+):", groups, re.MULTILINE)
    assert re.search(rf"^{USER}:[^:]*:\d+:{gid}:.*/nologin$", users, re.MULTILINE)
    assert set(re.findall(rf"^(\w+):.*:{USER}$", groups, re.MULTILINE)) == {"audio", "video"}
    state = layout.state.stat()
    assert (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (0o1775, 0, int(gid))
    slots = layout.slots.stat()
    assert (slots.st_mode & 0o7777, slots.st_uid, slots.st_gid) == (0o755, 0, 0)


def test_trust_in_the_clock_can_be_asked_for() -> None:
    """Within the recorder's rules for system calls, not within those with ProtectClock."""
    assert {"adjtimex", "clock_adjtime"} <= service("recorder").calls()
    assert not {"clock_settime", "settimeofday", "reboot", "mount", "ptrace", "bpf"} & (
        service("recorder").calls() | service("classifier").calls()
    )
    code = "import ctypes; print(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)))"
    here = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256))
    done = confined("recorder", [sys.executable, "-c", code])
    assert (done.returncode, done.stdout.strip()) == (0, str(here))
    done = confined("classifier", [sys.executable, "-c", code])
    assert done.returncode == -signal.SIGSYS, "the test would not see a call that is not allowed"


def test_helpers_of_the_recorder_can_do_what_they_do(tmp_path: Path) -> None:
    """FLAC at idle priority, and effort.csv, within its rules."""
    card = SoundCard(tmp_path)
    card.noise(3000, 0)
    card.end()
    code = (
        "import os, sys; from pathlib import Path; from edge_probe.disk.chores import Chores\n"
        f"state = Path({str(tmp_path)!r})\n"
        "chores = Chores(state, margin_s=None, flac=True, is_busy=lambda: False)\n"
        "while chores.step(): pass\nchores.close()\n"
        "os.setpriority(os.PRIO_PROCESS, 0, 19)\n"
        f"from edge_probe.cli import main; sys.exit(main(['effort', {str(tmp_path)!r}]))"
    )
    done = confined("recorder", [sys.executable, "-c", code])
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "audio").glob("*.flac"))) == 3
    assert (tmp_path / "effort.csv").exists()


def test_installers_can_try_a_bundle_out() -> None:
    for name in ("setup", "trial", "stick"):
        assert confined(name, [sys.executable, "-c", "import os; os.nice(5)"]).returncode == 0, name
    # the others have the same rules
    done = confined("trial", [sys.executable, "-m", "edge_probe", "selftest", str(DEMO_BUNDLE)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert service("trial").calls() == service("stick").calls() < service("setup").calls()


def confined(name: str, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a program within the rules of a unit for system calls."""
    return subprocess.run(
        [*_within(name), *command], env=environment(), capture_output=True, text=True, check=False
    )


def _within(name: str) -> list[str]:
    return [sys.executable, str(unit.__file__), service(name).name]


class Systemd:
    """What a service tells.

    Parameters
    ----------
    folder : Path
        For the socket.
    log : Path
        Of the service, for whoever wonders.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._log = log
        self.environment = {"NOTIFY_SOCKET": str(folder / "notify")}
        self.heard: list[str] = []

    def wait_for(self, what: str, limit_s: float = 60) -> None:
        """Until a message that begins so comes, one that nobody took yet."""
        end = time.monotonic() + limit_s
        while (left_s := end - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            with suppress(TimeoutError):
                self.heard.append(self._socket.recv(4096).decode())
                if self.heard[-1].startswith(what):
                    return
        pytest.fail(f"no {what} in {self.heard}: {self._log.read_text()}")

    def listen(self) -> None:
        """Take what has come."""
        self._socket.settimeout(0)
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemds(tmp_path: Path) -> Iterator[Callable[[str], Systemd]]:
    """Makes one for each service."""
    made: list[Systemd] = []

    def make(name: str) -> Systemd:
        folder = tmp_path / f"systemd-{name}"
        folder.mkdir()
        made.append(Systemd(folder, tmp_path / "log"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@contextmanager
def started(
    command: Sequence[object], more: dict[str, str], log: Path
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that does not outlive the test."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(word) for word in command], env=environment() | more, stderr=file
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_two_services_over_one_folder_within_their_rules(
    tmp_path: Path, plugged: Callable[[int], VirtualMicrophone],
    systemds: Callable[[str], Systemd],
) -> None:  # fmt: skip
    microphone, log = plugged(RATE), tmp_path / "log"
    state, settings = tmp_path / "state", tmp_path / "etc" / "settings.toml"
    state.mkdir()
    settings.parent.mkdir()
    settings.write_text(
        f'bundle = "../slots/current"\ndevice = "{microphone.name}"\nrate = {RATE}\n'
        "segment = 1\nfloor = 0.01\n"
    )
    settings.with_name("deployment.toml").write_text('deployment_id = "wood-1"')
    edge_probe = [sys.executable, "-m", "edge_probe", "run", state, "--settings", settings]
    a, b = systemds("a"), systemds("b")
    watched = microphone.environment | {"WATCHDOG_USEC": "3000000"}
    record = [*_within("recorder"), *edge_probe, "--only", "record"]
    classify = [*_within("classifier"), *edge_probe, "--only", "classify"]
    with started(record, watched | a.environment, log) as recorder:
        a.wait_for("READY=1")  # and there is no bundle
        slots = tmp_path / "slots"
        shutil.copytree(DEMO_BUNDLE, slots / "a")
        (slots / "current").symlink_to("a")
        with started(classify, watched | b.environment, log) as killed:
            b.wait_for("READY=1")
            b.wait_for("WATCHDOG=1")
            killed.kill()
            killed.wait()
        a.listen()
        a.wait_for("WATCHDOG=1")  # its samples advance all the same
        with started(classify, watched | b.environment, log) as process:
            b.wait_for("READY=1")
            b.wait_for("STATUS=")
            assert re.fullmatch(r"STATUS=\S+@\w{12}: \S+ behind", b.heard[-1])
            _until(lambda: _n_done(state) > 0)
            recorder.terminate()
            assert recorder.wait(30) == 0, log.read_text()
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
        b.listen()
        assert b.heard[-1] == "STOPPING=1"
    status = _told(state)
    assert status.deployment_id == "wood-1"
    assert status.classifier == Classifier("running", status.classifier.behind_s, None)  # type: ignore[union-attr]
    assert not re.findall("Traceback|systemd|not permitted|priority", log.read_text())


def test_a_bundle_that_does_not_open_is_never_called_ready(
    tmp_path: Path, systemds: Callable[[str], Systemd]
) -> None:
    """Whoever restarts the unit sees it fail."""
    bundle, systemd = tmp_path / "bundle", systemds("one")
    shutil.copytree(DEMO_BUNDLE, bundle)
    with (bundle / "labels.txt").open("a") as labels:
        labels.write("Yeti\n")
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", "run", tmp_path, "--only", "classify", "--bundle",
         bundle],
        env=environment() | systemd.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "labels.txt" in done.stderr
    systemd.listen()
    assert systemd.heard == []


def _told(state: Path) -> Status:
    written = read_status(state)
    assert written
    return written.status


def _n_done(state: Path) -> int:
    return _count(state, "state = 'done'")


def _count(state: Path, where: str) -> int:
    if not (state / "detections.sqlite").exists():
        return 0
    try:
        return int(rows(state, f"SELECT count(*) FROM chunk WHERE {where}")[0][0])
    except sqlite3.OperationalError:  # no tables yet
        return 0


def _until(done: Callable[[], bool], limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundles") / "one", WindowSpec(3, 2, 0.1))


@pytest.mark.parametrize("was_seen", [False, True])
def test_a_try_is_taken_back_where_nobody_saw_the_end(
    tmp_path: Path, bundle: Bundle, was_seen: bool
) -> None:
    """The first chunk was tried as often as may be; the service's folder tells who knows why."""
    state, runtime = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    runtime.mkdir()
    card = SoundCard(state)
    card.noise(1100, 0)
    card.end()
    chores = Chores(state, margin_s=None, flac=True, is_busy=lambda: False)
    assert chores.step()  # FLAC is read as well
    chores.close()
    store = Store(state / "detections.sqlite", bundle)
    store.commit([], [Try(Piece(Key(1, 0, 0, 0), 0, 16), MAX_ATTEMPTS)])
    store.close()
    if was_seen:
        (runtime / FIRST_MARK).touch()
    command = [*_within("classifier"), sys.executable, classifier.__file__, state, bundle.path]
    log = tmp_path / "log"
    with started(command, {"RUNTIME_DIRECTORY": str(runtime)}, log) as process:
        _until(lambda: _count(state, "state IN ('done', 'quarantined')") == 1100 // 16 + 1)
        assert (runtime / FIRST_MARK).exists()
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        (first,) = db.execute("SELECT state FROM chunk WHERE n = 0").fetchone()
    assert first == ("quarantined" if was_seen else "done")


def test_a_child_of_a_recorder_says_nothing_to_systemd(
    tmp_path: Path, bundle: Bundle, systemds: Callable[[str], Systemd]
) -> None:
    """It would only hear that it is not the one to speak."""
    systemd, runtime = systemds("one"), tmp_path / "run"
    runtime.mkdir()
    reader, writer = os.pipe()
    command = [sys.executable, str(classifier.__file__), tmp_path, bundle.path, "--beat-fd", writer]
    more = systemd.environment | {"RUNTIME_DIRECTORY": str(runtime)}
    with subprocess.Popen(
        [str(word) for word in command], env=environment() | more, pass_fds=[writer]
    ) as process:
        os.close(writer)
        assert os.read(reader, 1) == b"."
        os.close(reader)
        assert process.wait(30) == 0
    systemd.listen()
    assert systemd.heard == []
    assert not list(runtime.iterdir())


def test_every_set_of_calls_is_known_here() -> None:
    assert "mmap" in calls_of("@system-service"), "sets within sets"
    for name in SERVICES:
        assert len(service(name).calls()) > 200
