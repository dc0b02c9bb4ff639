"""``edge-firmware stage``: from a signed bundle to a device that is installed without network."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import made_wheels
from support.owner import RELEASE, THIEF, TRUSTED, pack
from support.tiny_bundle import GOLDEN

from edge_probe.budget.trial import Trial, run_trial
from edge_probe.bundle.sign import DEVELOPMENT_SECRET
from edge_probe.bundle.trust import write_store
from firmware_tools.cli import main
from firmware_tools.stage import cargo, lock, own_wheel
from firmware_tools.stage.contents import FILES, UNITS
from firmware_tools.verdict import Verdict

ROOT = Path(__file__).parents[2]
DEVELOPMENT_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(DEVELOPMENT_SECRET).digest())
BOARD = "pi-zero-2w"
HERE = "generic-64bit-linux"
CURRENT = 'bundle = "/var/lib/edge-probe/slots/current"\n'


@dataclass(frozen=True)
class Desk:
    """A folder with all that is given to ``stage``."""

    folder: Path

    def stage(self, out: str, *more: str, form: str = "tree", profile: str = BOARD) -> int:
        """Run the command there."""
        return main(["stage", str(self.folder / "tiny.epb"), str(self.folder / out),
                     "--profile", profile, "--form", form, "--wheels", str(self.folder / "wheels"),
                     "--trust", str(self.folder / "trust.json"), *more])  # fmt: skip

    def write(self, name: str, text: str) -> str:
        """A file for an option."""
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)

    def left(self) -> list[str]:
        """What lies there beside what was given, hidden or not."""
        given = {"tiny.epb", "trust.json", "wheels", "lists"}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in given)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    made_wheels.fill(folder / "wheels", folder / "lists")
    return folder


@cache
def trial() -> Trial:
    return run_trial(GOLDEN)


@pytest.fixture
def desk(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(cargo, "run_trial", lambda bundle, trust: trial())
    shutil.copytree(wheels, tmp_path, dirs_exist_ok=True)
    pack(tmp_path / "tiny.epb")
    write_store(tmp_path / "trust.json", TRUSTED)
    monkeypatch.setattr(lock, "FOLDER", tmp_path / "lists")
    monkeypatch.setattr(own_wheel, "sources", lambda: None)  # as where it is installed
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return Desk(tmp_path)


def test_a_dry_run_prints_what_the_tree_then_is(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cargo, "run_trial", run_trial)  # the owner's keys count there, too
    given = ["--settings", desk.write("settings.toml", CURRENT + "rate = 32000\n"),
             "--deployment", desk.write("deployment.toml", 'deployment_id = "A"\n')]  # fmt: skip
    before = desk.left()
    assert desk.stage("out", *given, "--dry-run") == 0
    planned = capsys.readouterr().out
    assert desk.left() == before, "nothing is written"
    assert re.search(r"^(fits|MAY NOT WORK): ", planned, re.MULTILINE)
    assert desk.stage("out", *given) == 0
    assert capsys.readouterr().out.startswith(planned)
    assert (desk.folder / "out/plan.txt").read_text() == planned

    root = desk.folder / "out/root"
    lines = re.findall(r"^(\d{4}) +(\d+) ([0-9a-f]{64})  (\S+)$", planned, re.MULTILINE)
    found = {
        str(path.relative_to(root)): (f"{path.stat().st_mode & 0o7777:04o}", path.stat().st_size)
        for path in root.rglob("*") if path.is_file()
    }  # fmt: skip
    assert {path: (mode, int(size)) for mode, size, _, path in lines} == found
    for path in ("etc", "var", "run"):
        assert not (root / path).exists(), "what belongs to a device is not the package's"
    staged = {path.name for path in (root / "opt/edge-probe/staged").iterdir()}
    assert staged == {"tiny-7.epb", "trust.json", "settings.toml", "deployment.toml"}
    link = (root / "usr/bin/edge-probe").readlink()
    assert link == Path("/opt/edge-probe/venv/bin/edge-probe")
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=desk.folder / "out", check=False
    )
    assert checked.returncode == 0


def test_a_package_is_the_same_bytes_whoever_builds_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    assert desk.stage("first", form="deb") == 0
    time.sleep(1.1)
    umask = os.umask(0o077)
    try:
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
        (desk.folder / "elsewhere").mkdir()
        assert desk.stage("elsewhere/second", form="deb") == 0
    finally:
        os.umask(umask)
    (first,), (second,) = (
        (desk.folder / name).glob("*.deb") for name in ("first", "elsewhere/second")
    )
    assert first.read_bytes() == second.read_bytes()
    assert first.name == second.name
    listed = subprocess.run(["dpkg-deb", "-c", first], capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        mode, owner = line.split()[:2]
        assert owner == "root/root"
        assert mode in ("drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"), line
        assert "1980-01-01" in line

    field = {name: _field(first, name) for name in ("Version", "Architecture", "Depends")}
    assert field["Architecture"] == "arm64"
    assert re.fullmatch(r"[0-9.]+\+7\.[0-9a-f]{8}", field["Version"])
    assert "libportaudio2" in field["Depends"]
    assert (
        desk.stage(
            "third", "--deployment", desk.write("d.toml", 'deployment_id = "A"\n'), form="deb"
        )
        == 0
    )
    (third,) = (desk.folder / "third").glob("*.deb")
    assert _field(third, "Version") != field["Version"], "a version is a content"


def _field(package: Path, name: str) -> str:
    command = ["dpkg-deb", "-f", str(package), name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_image_is_the_same_bytes_and_sound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if shutil.which("debugfs") is None:
        pytest.skip("needs e2fsprogs")
    images = []
    for out, umask in (("first", 0o022), ("second", 0o077)):
        before = os.umask(umask)
        try:
            assert desk.stage(out, form="image") == 0
        finally:
            os.umask(before)
        images.append(desk.folder / out / "edge-probe-data.img")
        time.sleep(1.1)
    assert images[0].read_bytes() == images[1].read_bytes()
    checked = subprocess.run(["e2fsck", "-fn", images[0]], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout
    for name, source in (("tiny-7.epb", "tiny.epb"), ("trust.json", "trust.json")):
        assert _debugfs(images[0], f"cat /site/{name}") == (desk.folder / source).read_bytes()
        told = _debugfs(images[0], f"stat /site/{name}").decode()
        assert re.search(r"User: +0 +Group: +0 ", told), told
        assert "Mode:  0644" in told
    assert b"edge-probe-data" in _debugfs(images[0], "stats")


def _debugfs(image: Path, request: str) -> bytes:
    command = ["debugfs", "-R", request, str(image)]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.fixture
def dpkg(desk: Desk) -> Callable[..., subprocess.CompletedProcess[str]]:
    """dpkg for a file system of its own, without anything that packages depend on."""
    if os.geteuid() != 0 or shutil.which("systemd-sysusers") is None:
        pytest.skip("needs root and systemd")
    root = desk.folder / "device"
    for folder in ("var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"):
        (root / folder).mkdir(parents=True)
    for name in ("status", "available"):
        (root / "var/lib/dpkg" / name).touch()

    def run(*words: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends",
             "--log=/dev/null", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    return run


def test_from_package_to_device_and_back(
    desk: Desk, dpkg: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    device = desk.folder / "device"
    recording = device / "var/lib/edge-probe/audio/a.wav"
    environments = device / "opt/edge-probe/environments"
    wanted = device / "etc/systemd/system/multi-user.target.wants"

    dpkg("-i", _package(desk, "one"))
    assert "x86_64-3.1" in _says(device)
    assert (wanted / "edge-probe-recorder.service").is_symlink()
    assert recording.parents[1].stat().st_mode & 0o7777 == 0o1775
    recording.parent.mkdir()
    recording.write_bytes(b"sound")
    (device / "etc/edge-probe/settings.toml").write_text("# mine\n")
    (wanted / "edge-probe-send.service").unlink()  # disabled

    made_wheels.own(desk.folder / "wheels", "x86_64", "-next")
    dpkg("--unpack", _package(desk, "two"))
    assert sum(_killed(device, delay_s) for delay_s in (0.3, 1.0))
    assert "-next" not in _says(device), "the old one is whole"
    dpkg("--configure", "edge-probe")
    assert "-next" in _says(device)
    assert len(list(environments.iterdir())) == 1
    assert (device / "etc/edge-probe/settings.toml").read_text() == "# mine\n"
    assert not (wanted / "edge-probe-send.service").is_symlink()

    dpkg("-r", "edge-probe")
    assert not environments.exists()
    assert (device / "etc/edge-probe/settings.toml").exists()
    dpkg("-P", "edge-probe")
    assert not (device / "etc/edge-probe").exists()
    assert not (device / "opt/edge-probe").exists()
    assert not list((device / "etc/systemd/system").rglob("edge-probe*"))
    assert recording.read_bytes() == b"sound"


def _killed(device: Path, delay_s: float) -> bool:
    """Let an installation run for a moment; whether it was at work when it was killed."""
    running = subprocess.Popen(
        [device / "opt/edge-probe/configure", "1"], env={**os.environ, "DPKG_ROOT": str(device)},
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(delay_s)
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
    return running.wait() == -signal.SIGKILL


SYSTEMCTL = """#!/bin/sh
echo "$*" >>"$SAID"
[ "$1" != stop ] || { read -r answer <"$GATE"; exit "$answer"; }
"""
"""A stop takes as long as the gate stays shut, and ends as it says."""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, None])
def test_who_was_stopped_is_started_again(
    number: signal.Signals | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the session is lost while systemd stops the recorder, or the stop fails."""
    script, said, gate = _beside_systemd(tmp_path, monkeypatch)
    command = [str(script), "1"]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as running:
        with gate.open("w") as answer:  # blocks until systemctl stop is at work
            if number:
                os.killpg(running.pid, number)
                time.sleep(0.2)
            answer.write("0\n" if number else "1\n")
        assert running.wait(timeout=20) == (0 if number else 1)
    stop, start = said.read_text().splitlines()[-2:]
    assert stop.startswith("stop edge-probe-")
    assert start == f"--no-block start {stop.removeprefix('stop ')}"
    assert "edge-probe-recorder.service" in start


def _beside_systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """The script where its environment is made already and a systemd of ours answers."""
    device = folder / "device"
    program = device / "opt/edge-probe"
    version = subprocess.run(
        ["/usr/bin/python3", "-c", 'import sys; print("%d.%d" % sys.version_info[:2])'],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    name = f"{version}-{hashlib.sha256(b'').hexdigest()[:12]}"
    (program / "environments" / name).mkdir(parents=True)
    (program / f"{version}.txt").touch()
    (program / "venv").symlink_to(f"environments/{name}")
    units = device / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit in UNITS.glob("*.service"):
        shutil.copy(unit, units)
    text = (FILES / "configure").read_text()
    is_up = '[ -z "$root" ] && [ -d /run/systemd/system ]'
    assert text.count(is_up) == 1
    script, said, gate = program / "configure", folder / "said", folder / "gate"
    script.write_text(text.replace(is_up, "true"))
    script.chmod(0o755)
    os.mkfifo(gate)
    programs = folder / "programs"
    programs.mkdir()
    for tool, content in (("systemctl", SYSTEMCTL), ("systemd-sysusers", "#!/bin/sh\n"),
                          ("systemd-tmpfiles", "#!/bin/sh\n")):  # fmt: skip
        (programs / tool).write_text(content)
        (programs / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for variable, path in (("DPKG_ROOT", device), ("SAID", said), ("GATE", gate)):
        monkeypatch.setenv(variable, str(path))
    return script, said, gate


def test_a_device_with_another_python_is_told(
    desk: Desk,
    dpkg: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("firmware_tools.stage.output.PYTHONS", ("3.13",))
    version = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, check=True)
    if "3.13" in version.stdout:
        monkeypatch.setattr("firmware_tools.stage.output.PYTHONS", ("3.11",))
    told = dpkg("-i", _package(desk, "one"), ok=False).stderr
    assert "edge-probe: no wheels for Python 3.1" in told


def _package(desk: Desk, out: str) -> Path:
    assert desk.stage(out, form="deb", profile=HERE) == 0
    (path,) = (desk.folder / out).glob("*.deb")
    return path


def _says(device: Path) -> str:
    command = device / "opt/edge-probe/venv/bin/edge-probe"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([command], env=environ, capture_output=True, text=True, check=True)
    return done.stdout


BAD_SETTINGS = {
    'bundle = "/home/pi/bundle"\n': "slots/current",
    'private = ["Parus major_Great Tit"]\n': "need a bundle",
    CURRENT + 'private = ["Parus major"]\n': "did you mean Parus major_Great Tit?",
    CURRENT + 'keep = "detections"\n': "accept-deletion",
    CURRENT + 'species = "birds.csv"\n': 'expected "species.csv"',
    CURRENT + 'species = "species.csv"\n': "no such file",
    CURRENT + 'deployment = "deployment.toml"\n': "leave the line out",
    "rate = 48000\n": "no bundle is named",
    "rates = 48000\n": "did you mean rate?",
    'rate = "48000"\n': "number",
    "rate =\n": "not TOML",
}


@pytest.mark.parametrize("text", BAD_SETTINGS)
def test_settings_that_a_device_cannot_live_with_are_refused(
    text: str, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = desk.write("settings.toml", text)
    assert desk.stage("out", "--settings", settings) == 1
    assert BAD_SETTINGS[text] in capsys.readouterr().err
    assert desk.left() == ["settings.toml"]


def test_a_species_list_goes_along(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    settings = desk.write("settings.toml", CURRENT + 'species = "species.csv"\n')
    desk.write("species.csv", "label,from_mmdd,to_mmdd,min_score\nParus,,,\n")
    assert desk.stage("out", "--settings", settings) == 1
    assert "'Parus' is no label" in capsys.readouterr().err
    desk.write("species.csv", "label,from_mmdd,to_mmdd,min_score\nParus major_Great Tit,,,\n")
    assert desk.stage("out", "--settings", settings) == 0
    assert (desk.folder / "out/root/opt/edge-probe/staged/species.csv").is_file()


def test_a_deployment_that_is_not_valid_is_refused(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert desk.stage("out", "--deployment", desk.write("d.toml", "latitude = 1\n")) == 1
    assert "deployment_id is missing" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--deployment", "--settings"])
def test_a_folder_where_a_file_is_expected(
    option: str, desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = desk.folder / "wheels"
    assert desk.stage("out", option, str(folder)) == 1
    told = capfd.readouterr().err
    assert told == f"error: {folder}: Is a directory\nhint: name a file in it\n"


def test_a_bundle_that_was_not_signed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    (desk.folder / "tiny.epb").unlink()
    shutil.copytree(GOLDEN, desk.folder / "tiny.epb")
    assert desk.stage("out") == 1
    assert "hint: name a signed file: edge-firmware sign makes one" in capsys.readouterr().err


def test_only_what_the_owner_signed_is_staged(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    transport = desk.folder / "tiny.epb"
    transport.unlink()
    pack(transport, key=THIEF)
    assert desk.stage("out") == 1
    assert "E10 signature" in capsys.readouterr().err
    transport.unlink()
    pack(transport, key=DEVELOPMENT_KEY)
    assert desk.stage("out") == 1
    assert "the development key, which everybody has" in capsys.readouterr().err
    assert desk.left() == []


def test_a_release_that_the_device_would_refuse_is_refused(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    write_store(
        desk.folder / "trust.json", [replace(key, min_release=RELEASE + 1) for key in TRUSTED]
    )
    assert desk.stage("out") == 1
    assert "E12 release" in capsys.readouterr().err


def test_a_device_must_know_whom_it_trusts(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cargo, "STORE", desk.folder / "none.json")
    words = ["stage", str(desk.folder / "tiny.epb"), str(desk.folder / "out")]
    assert main([*words, "--profile", BOARD, "--form", "deb"]) == 1
    assert "no trust store was named" in capsys.readouterr().err


def test_the_verdict_decides(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cargo, "judge", lambda sheet, profile: Verdict(["too large"], ["slow"]))
    assert desk.stage("out") == 1
    told = capsys.readouterr()
    assert "CANNOT WORK: too large" in told.err
    assert not told.out
    assert desk.left() == []
    monkeypatch.setattr(cargo, "judge", lambda sheet, profile: Verdict([], ["slow"]))
    assert desk.stage("out") == 0
    assert "MAY NOT WORK: slow" in capsys.readouterr().out


def test_nothing_is_in_the_way_and_nothing_is_left_of_what_fails(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.folder / "full").mkdir()
    (desk.folder / "full/mine").touch()
    assert desk.stage("full") == 1
    assert [path.name for path in (desk.folder / "full").iterdir()] == ["mine"]
    tool = desk.folder / "bin/dpkg-deb"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho no room >&2\nexit 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    (desk.folder / "out").mkdir()
    assert desk.stage("out", form="deb") == 1
    assert "dpkg-deb: no room" in capsys.readouterr().err
    assert desk.left() == ["bin", "full", "out"]
    assert not list((desk.folder / "out").iterdir())


def test_a_wheel_is_what_the_list_says_or_is_fetched(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = desk.folder / "wheels"
    (good,) = wheels.glob("made_dependency*cp311*aarch64.whl")
    content = good.read_bytes()
    good.write_bytes(content.replace(b"aarch64", b"AARCH64"))
    assert desk.stage("out") == 1
    told = capsys.readouterr().err
    assert "could not download the wheels for aarch64-3.11" in told
    assert "--wheels DIR" in told
    mirror = desk.folder / "mirror"
    mirror.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(mirror))
    (mirror / good.name).write_bytes(good.read_bytes())
    assert desk.stage("out") == 1, "pip compares, too"
    (mirror / good.name).write_bytes(content)
    assert desk.stage("out") == 0
    assert good.read_bytes() == content
    assert sorted(path.suffix for path in wheels.iterdir()) == [".whl"] * len(
        list(wheels.iterdir())
    )


def test_without_sources_the_wheel_of_ours_is_asked_for(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (desk.folder / "wheels").glob("edge_probe*"):
        path.unlink()
    assert desk.stage("out") == 1
    assert "make wheels in the sources" in capsys.readouterr().err


def test_the_lists_are_what_is_tested() -> None:
    pins = lock.pinned(ROOT / "constraints.txt")
    needed = set(_runtime())
    for architecture in lock.ARCHITECTURES:
        for python in lock.PYTHONS:
            listed = {one.name: one.version for one in lock.lock_of(f"{architecture}-{python}")}
            assert listed == {name: pins[name] for name in listed}, (
                "python -m firmware_tools.stage.lock"
            )
            assert listed.keys() >= needed
    assert lock.locked_tool("setuptools").version == pins["setuptools"]


def _runtime() -> list[str]:
    from edge_probe.budget.installed import required

    return [lock.plain(one.metadata["Name"]) for one in required("edge-probe")]
