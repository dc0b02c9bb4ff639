"""What starts by itself, what watches over it, and where the next start comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_probe.health.tool import ask
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError, fields

RECORDER, CLASSIFIER, SETUP = (
    f"edge-probe-{name}.service" for name in ("recorder", "classifier", "setup")
)

_PROPERTIES = (
    "LoadState,UnitFileState,ActiveState,SubState,Result,NRestarts,AssertResult,ConditionResult,"
    "ConditionTimestampMonotonic"
)


def look_unit(host: Host, unit: str) -> tuple[str, Mapping[str, str]]:
    """Its name, and what systemd knows of it.

    Raises
    ------
    UnreadableError
        No systemd runs here.
    DeviceError
        It does not answer.
    """
    _need_systemd(host)
    return unit, fields(ask("systemctl", "show", "-p", _PROPERTIES, unit, package="systemd"))


def _need_systemd(host: Host) -> None:
    if not host.path("run/systemd/system").is_dir():  # sd_booted(3)
        raise UnreadableError("no systemd runs here")


def judge_unit(found: tuple[str, Mapping[str, str]]) -> Finding:
    """It must start at boot, and be up."""
    unit, facts = found
    if facts.get("LoadState") != "loaded":
        return Finding("warn", f"{unit} is not installed: nothing starts at boot",
                       "edge-firmware stage makes a package with it")  # fmt: skip
    active, result = facts.get("ActiveState", ""), facts.get("Result", "")
    log = f"journalctl -b -u {unit}"
    if active == "failed":
        return Finding("fail", f"{unit} failed: {result}", log)
    if facts.get("UnitFileState") not in ("enabled", "static", "enabled-runtime", "linked"):
        return Finding("fail", f"{unit} does not start at boot: {facts.get('UnitFileState')}",
                       f"sudo systemctl enable --now {unit}")  # fmt: skip
    is_oneshot = unit == SETUP
    if active not in ("active", "activating") and not (is_oneshot and result == "success"):
        was_tried = facts.get("ConditionTimestampMonotonic", "0") != "0"
        if was_tried and facts.get("AssertResult") == "no":
            return Finding("fail", f"{unit}: what it insists on is not there",
                           "systemctl status tells; the classifier's is trust.json")  # fmt: skip
        if was_tried and facts.get("ConditionResult") == "no":
            return Finding("warn", f"{unit} waits: what it needs is not there",
                           "systemctl status tells; the classifier needs a bundle")  # fmt: skip
        return Finding("fail", f"{unit} is {active}", f"sudo systemctl start {unit}; {log}")
    n_restarts = facts.get("NRestarts") or "0"
    what = f"{active}, {facts.get('SubState')}, starts at boot"
    if n_restarts != "0":
        return Finding("warn", f"{what}; started again {n_restarts} times", log)
    return Finding("ok", what)


def look_failed(host: Host) -> Sequence[str]:
    """Units of the whole system that failed: a mount, the clock, our own.

    Raises
    ------
    UnreadableError
        No systemd runs here.
    DeviceError
        It does not answer.
    """
    _need_systemd(host)
    words = "list-units", "--state=failed", "--plain", "--no-legend", "--full", "--no-pager"
    lines = ask("systemctl", *words, package="systemd").splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def judge_failed(units: Sequence[str]) -> Finding:
    """Each is something that was meant to be there."""
    if units:
        return Finding("warn", f"{', '.join(units)}", f"journalctl -b -u {units[0]}")
    return Finding("ok", "none")


@dataclass(frozen=True, slots=True)
class WatchdogFacts:
    """Hardware that starts the board anew when nobody tells it not to."""

    identity: str | None
    """None: there is none."""
    state: str | None
    """``active`` while somebody has it running; None: the kernel does not say."""
    timeout_s: str | None


def look_watchdog(host: Host) -> WatchdogFacts:
    """Read the first one."""
    folder = "sys/class/watchdog/watchdog0"
    if not host.path("sys/class/watchdog").is_dir():
        raise UnreadableError("the kernel knows no watchdogs")
    if not host.path(folder).exists():
        return WatchdogFacts(None, None, None)
    return WatchdogFacts(
        host.read_if_there(f"{folder}/identity") or "watchdog0",
        host.read_if_there(f"{folder}/state"), host.read_if_there(f"{folder}/timeout"),
    )  # fmt: skip


def judge_watchdog(facts: WatchdogFacts) -> Finding:
    """A kernel that hangs is helped by nothing else."""
    feed = "RuntimeWatchdogSec=15s under [Manager] in a file of /etc/systemd/system.conf.d/, reboot"
    if facts.identity is None:
        return Finding("warn", "none: a kernel that hangs stays so until somebody comes",
                       "dtparam=watchdog=on in config.txt")  # fmt: skip
    if facts.state is None:
        return Finding("unknown", f"{facts.identity}: nobody says whether it runs", feed)
    if facts.state != "active":
        return Finding("warn", f"{facts.identity} does not run: a kernel that hangs stays so", feed)
    return Finding("ok", f"{facts.identity} runs, {facts.timeout_s or '?'} s")


@dataclass(frozen=True, slots=True)
class BootFacts:
    """The boot partition, and what somebody put there for this device."""

    is_pi: bool
    names: Sequence[str] | None
    """In /boot/firmware; None: no such folder."""
    refused: Sequence[str]
    """What setup said of files for this device that it did not take over, there or on the data
    partition."""


def look_boot(host: Host) -> BootFacts:
    """List it, and read what setup left beside the files for this device."""
    folders = host.layout.site_folders
    try:
        names = sorted(path.name for path in folders[0].parent.iterdir())
    except FileNotFoundError:
        names = None
    model = host.read_if_there("proc/device-tree/model") or ""
    results = [folder.relative_to(host.layout.root) / _RESULT for folder in folders]
    lines = [
        line for path in results for line in (host.read_if_there(str(path)) or "").splitlines()
    ]
    refused = [line for line in lines if _REFUSED in line]
    return BootFacts(model.startswith("Raspberry Pi"), names, refused)


_RESULT, _REFUSED = "edge-probe-result.txt", "NOT TAKEN OVER"
"""As ``edge-firmware setup`` writes them."""


def judge_boot(facts: BootFacts) -> Finding:
    """It is the one that any laptop can write."""
    if facts.names is None and not facts.is_pi:
        raise UnreadableError("no /boot/firmware: not a Raspberry Pi OS")
    if facts.names is None or "config.txt" not in facts.names:
        return Finding("fail", "/boot/firmware: no config.txt there: is it mounted?",
                       "sudo mount /boot/firmware; else sudo fsck on its partition")  # fmt: skip
    if facts.refused:
        return Finding("warn", f"files for this device: {'; '.join(facts.refused)[:300]}",
                       "mend the file in edge-probe on the boot partition, reboot")  # fmt: skip
    site = ", with files for this device" if "edge-probe" in facts.names else ""
    return Finding("ok", f"/boot/firmware: {len(facts.names)} entries{site}")
