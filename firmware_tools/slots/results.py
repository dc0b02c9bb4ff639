"""What a device leaves on a stick: ``results/SERIAL.json``, one file for each device."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import edge_probe
from edge_probe.alive.status import as_fields, read_status
from edge_probe.clock import Clock
from edge_probe.deployment.settings import read_settings
from edge_probe.errors import EdgeProbeError
from firmware_tools.layout import Layout
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.record import Record
from firmware_tools.slots.stick import Finding

FOLDER = "results"
FORMAT = "edge-probe stick results"
FORMAT_VERSION = 1

_SERIAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PART = ".part"


def serial_of(root: Path) -> str:
    """What tells this device from others.

    The board's serial number; without one, something made of the machine id, which itself is not
    to be given away (machine-id(5)).

    Parameters
    ----------
    root : Path
        Of the file system.

    Raises
    ------
    EdgeProbeError
        It has neither.
    """
    with suppress(OSError):
        text = (root / "proc/device-tree/serial-number").read_bytes().decode("ascii", "replace")
        if _SERIAL.fullmatch(text := text.strip("\0\n ")):
            return text
    with suppress(OSError):
        if machine := (root / "etc/machine-id").read_bytes().strip():
            return f"machine-{hashlib.sha256(b'edge-probe stick ' + machine).hexdigest()[:16]}"
    raise EdgeProbeError(
        "this device has neither a serial number nor a machine id",
        hint="systemd-machine-id-setup makes one",
    )


def results(layout: Layout, clock: Clock, findings: Sequence[Finding]) -> dict[str, Any]:
    """The content.

    Parameters
    ----------
    layout : Layout
    clock : Clock
    findings : sequence of Finding
        What became of the files on the stick.
    """
    utc = datetime.fromtimestamp(clock.utc_ns() * 1e-9, UTC)
    record = (layout.slots.is_dir() and SlotFolder(layout.slots).read()) or Record()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "serial": serial_of(layout.root),
        "deployment_id": _deployment_id(layout),
        "edge_probe": edge_probe.__version__,
        "written_utc": utc.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "clock_trust": clock.trust(),
        "boot_id": clock.boot(),
        "good": record.good and asdict(record.good),
        "trial": record.trial and asdict(record.trial),
        "last": record.last and asdict(record.last),
        "files": [asdict(one) for one in findings],
        "status": _status(layout, clock),
    }


def write(stick: Path, content: dict[str, Any]) -> Path:
    """Replace the file of this device: there is the old one or the new, and no link is followed.

    Parameters
    ----------
    stick : Path
    content : dict
        As `results` made it.

    Raises
    ------
    OSError
        The stick is full, cannot be written, or is gone.
    """
    name = f"{content['serial']}.json"
    with suppress(FileExistsError):
        (stick / FOLDER).mkdir()
    folder = os.open(stick / FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(name + _PART, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        part = os.open(name + _PART, flags, 0o644, dir_fd=folder)
        try:
            with os.fdopen(part, "w", encoding="ascii") as file:
                file.write(json.dumps(content, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.rename(name + _PART, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(name + _PART, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)
    return stick / FOLDER / name


def _deployment_id(layout: Layout) -> str | None:
    try:
        return read_settings(layout.deployment).deployment_id
    except (EdgeProbeError, OSError):
        return None


def _status(layout: Layout, clock: Clock) -> dict[str, Any] | None:
    """What the recorder says of itself; None: nothing that can be understood."""
    try:
        written = read_status(layout.state)
    except (EdgeProbeError, OSError):
        return None
    if written is None:
        return None
    return {"age_s": written.age_s(clock), **as_fields(written.status)}
