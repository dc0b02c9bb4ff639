"""Boards made of files, asked by the doctor's checks."""

import os
import re
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.made_boards import make_board, write
from support.owner import GOLDEN_EPB, TRUSTED

from edge_probe.alive.status import Status, Written, as_json
from edge_probe.bundle import verify
from edge_probe.bundle.transport import unpack_bundle
from edge_probe.clock import SystemClock
from firmware_tools.doctor import program
from firmware_tools.doctor.examine import CHECKS, examine
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host

REPOSITORY = Path(__file__).parents[2]

Programs = Callable[[str, str], None]
"""(name, shell script): puts it before all other programs."""


def before_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A folder of shell scripts that come before all other programs."""
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> None:
        write(folder / name, f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def on(root: Path, name: str) -> Host:
    """A board whose programs load, as far as anybody asks."""
    made = make_board(root, name)
    for part in (*program.PARTS, program.KERNELS):
        made.tried[part.name] = program.Attempt(part, 0, "ready: neon")
    return made


def judged(host: Host, *names: str) -> dict[str, Finding]:
    """Findings of the checks of these names."""
    chosen = [check for check in CHECKS if check.name in names]
    assert len(chosen) == len(names)
    return {entry.name: entry.finding for entry in examine(host, chosen)}


def one(host: Host, name: str) -> Finding:
    """The finding of one check."""
    return judged(host, name)[name]


def says(found: Finding, level: str, text: str, hint: str | None = None) -> bool:
    """Level, and patterns of what it says and of what to do."""
    assert found.level == level, found
    assert re.search(text, found.what), found
    assert hint is None or (found.hint and re.search(hint, found.hint)), found
    return True


def dies(number: signal.Signals) -> str:
    """Python that a signal ends."""
    return f"import os; os.kill(os.getpid(), {number})"


def say(host: Host, status: Status, age_s: float = 1.0) -> None:
    """A status of so many seconds ago."""
    own = SystemClock()
    written = Written(
        status, datetime.now(UTC), own.monotonic_ns() - round(age_s * 1e9), own.boot()
    )
    write(host.state / "status.json", as_json(written))


def installed(host: Host, tmp_path: Path) -> Path:
    """The bundle of `support.owner` in slot a."""
    epb = tmp_path / "tiny.epb"
    shutil.copy(GOLDEN_EPB, epb)
    host.layout.slots.mkdir()
    slot = host.layout.slots / "a"
    unpack_bundle(epb, slot, trusted=TRUSTED, verify=verify.is_valid)
    (host.layout.slots / "current").symlink_to("a")
    return slot


def poisoned(folder: Path, package: str) -> Path:
    """A package whose import is an illegal instruction."""
    path = folder / "poison"
    write(path / f"{package}.py", dies(signal.SIGILL))
    return path
