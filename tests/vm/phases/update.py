"""New bundles: by command, by stick, one that is too slow, and some that must not come in."""

import json
import time
from pathlib import Path
from typing import Any

from vm import stick
from vm.agent import Agent
from vm.device import (
    CLASSIFIER,
    RECORDER,
    look,
    n_chunks,
    n_recorded,
    shown,
    wait_active,
    wait_for,
)
from vm.machine import Machine
from vm.parts import RATE_HZ, STAGED_RELEASE, Parts

BY_COMMAND, TOO_SLOW, BY_STICK = STAGED_RELEASE + 1, STAGED_RELEASE + 2, STAGED_RELEASE + 3

RECORD = "/var/lib/edge-probe/slots/slots.json"

OF_THE_EMULATOR = "/etc/systemd/system/edge-probe-trial.service.d/emulator.conf"


def run(machine: Machine, parts: Parts, folder: Path) -> dict[str, Any]:
    """One after the other, each from what the one before left."""
    agent = machine.start()
    wait_active(agent, RECORDER)
    facts: dict[str, Any] = {"staged": _settled(agent, STAGED_RELEASE)}
    facts["by_command"] = _install(agent, parts.signed(BY_COMMAND))
    machine.cut_power()
    agent = machine.start()
    wait_active(agent, RECORDER)
    facts["by_command"] |= {"after_power_cut": _settled(agent, BY_COMMAND)}
    facts["too_slow"] = _roll_back(agent, parts.too_slow)
    facts["by_stick"] = _stick(machine, parts.signed(BY_STICK), folder / "stick.img")
    facts["refused"] = {
        path.name: _install(agent, path)
        for path in (parts.signed(STAGED_RELEASE - 1), parts.by_stranger, parts.by_development)
    }
    facts["slots"] = agent.text(["edge-firmware", "slots"], timeout_s=180).splitlines()
    facts["at_work"] = _at_work(agent)
    return facts


def _install(agent: Agent, source: Path) -> dict[str, Any]:
    """``edge-firmware install``."""
    agent.put(source, f"/root/{source.name}")
    done = agent.run(
        ["edge-firmware", "install", f"/root/{source.name}"], timeout_s=900, check=False
    )
    return {
        "status": done.returncode,
        "said": (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-3:],
    }


def _record(agent: Agent) -> dict[str, Any]:
    """What the device keeps of its slots."""
    found: dict[str, Any] = json.loads(agent.text(["cat", RECORD]))
    return found


def _settled(agent: Agent, release: int) -> dict[str, Any]:
    """How the slots look when this release was confirmed."""

    def good() -> dict[str, Any] | None:
        record = _record(agent)
        is_good = record["trial"] is None and record["good"]
        return record if is_good and record["good"]["release"] == release else None

    return _short(wait_for(f"release {release} to be confirmed", good))


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """Of the record, what is told."""
    names, last = ("good", "previous", "trial"), record["last"]
    return {name: record[name] and record[name]["release"] for name in names} | {
        "last": last and [last[name] for name in ("release", "result", "reason")]
    }


def _roll_back(agent: Agent, source: Path) -> dict[str, Any]:
    """The trial as it is shipped, which judges time, takes back a bundle that is too slow."""
    agent.run(["mv", OF_THE_EMULATOR, f"{OF_THE_EMULATOR}.off"])
    agent.run(["systemctl", "daemon-reload"])
    before = look(agent)
    installed = _install(agent, source)

    def back() -> dict[str, Any] | None:
        record = _record(agent)
        return record if record["trial"] is None else None

    record = wait_for("the trial to end", back)
    agent.run(["mv", f"{OF_THE_EMULATOR}.off", OF_THE_EMULATOR])
    agent.run(["systemctl", "daemon-reload"])
    wait_active(agent, CLASSIFIER)
    now = look(agent)
    wait_for("chunks after the way back", lambda: n_chunks(look(agent)) > n_chunks(now))
    return installed | {
        "afterwards": _short(record),
        "recorded_meanwhile_s": (n_recorded(now) - n_recorded(before)) / RATE_HZ,
    }


def _stick(machine: Machine, source: Path, image: Path) -> dict[str, Any]:
    """Plug in a stick with a newer bundle, wait for the unit, pull it out, read what was left."""
    agent = machine.agent
    stick.make(image, source)
    machine.plug(image)
    settled = _settled(agent, BY_STICK)
    wait_for(
        "the stick's unit to end",
        lambda: (
            shown(agent, "edge-probe-stick.service", "ActiveState")["ActiveState"]
            in ("inactive", "failed")
        ),
    )
    time.sleep(5)
    machine.unplug()
    return {"settled": settled, "results": stick.results(image)}


def _at_work(agent: Agent) -> dict[str, Any]:
    """Both processes, at the end of all that."""
    before = look(agent)
    wait_for("chunks", lambda: n_chunks(look(agent)) > n_chunks(before) + 3)
    now = look(agent)
    return {
        "recorded_more_s": (n_recorded(now) - n_recorded(before)) / RATE_HZ,
        "chunks_more": n_chunks(now) - n_chunks(before),
    }
