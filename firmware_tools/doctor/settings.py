"""What this device was told to do: its settings and its deployment file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_probe.errors import DeploymentError, EdgeProbeError
from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.doctor.program import need_numpy


@dataclass(frozen=True, slots=True)
class Orders:
    """Of the settings, what findings are measured by; the defaults are those of the recorder."""

    rate_hz: int | None = None
    n_channels: int = 1
    bits: int = 16
    keep: str = "all"
    device: str | None = None

    @property
    def deletes(self) -> bool:
        """Whether old audio makes room for new."""
        return self.keep != "all"


def look_orders(host: Host) -> Orders:
    """The settings of the recorder; without a file its defaults.

    Raises
    ------
    UnreadableError
        There is a file, and it cannot be understood.
    """
    path = host.layout.settings
    if not path.exists():
        return Orders()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {error}", hint="mend it: lines are key = value") from error
    return Orders(
        _typed(path, found, "rate", int, None), _typed(path, found, "channels", int, 1),
        _typed(path, found, "bits", int, 16), _typed(path, found, "keep", str, "all"),
        _typed(path, found, "device", str, None),
    )  # fmt: skip


def _typed(path: Path, found: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = found.get(key, default)
    if key in found and (type(value) is not kind or value in (0, "")):
        raise UnreadableError(f"{path}: {key} = {value!r} cannot be meant")
    return value


def look_settings_file(host: Host) -> Finding:
    """Whether the recorder would start with it."""
    try:
        orders = look_orders(host)
    except UnreadableError as error:
        return _no_start(error)
    if not host.layout.settings.exists():
        return Finding("ok", "no settings.toml: the recorder's defaults")
    need_numpy(host)
    from firmware_tools.stage.site_files import run_options

    try:
        run_options(host.layout.settings)
    except DeploymentError as error:
        return _no_start(error)
    rate = f"{orders.rate_hz} Hz" if orders.rate_hz else "the card's own rate"
    return Finding("ok", f"{rate}, {orders.n_channels} channel(s), {orders.bits} bits,"
                   f" keep {orders.keep}")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Deployment:
    """Of the deployment file, what findings are measured by."""

    name: str
    microphone: str | None
    gain_db: float | None


def look_deployment(host: Host) -> Deployment | None:
    """Read and check it as the recorder does; None: there is none.

    Raises
    ------
    DeploymentError
        The recorder would refuse it.
    """
    if not host.layout.deployment.exists():
        return None
    need_numpy(host)
    from edge_probe.deployment.settings import read_settings

    found = read_settings(host.layout.deployment)
    return Deployment(found.deployment_id, found.microphone, found.capture_gain_db)


def look_deployment_file(host: Host) -> Finding:
    """Whether the recorder takes it."""
    try:
        found = look_deployment(host)
        if found:
            from firmware_tools.stage.site_files import check_deployment

            check_deployment(host.layout.deployment)
        return judge_deployment(found)
    except DeploymentError as error:
        return _no_start(error)


def _no_start(error: EdgeProbeError) -> Finding:
    return Finding("fail", f"{error.message}: the recorder does not start so", error.hint)


def judge_deployment(found: Deployment | None) -> Finding:
    """Who, where and with what should be known before it is left alone."""
    if found is None:
        return Finding("warn", "no deployment.toml: nobody will know where this was recorded",
                       "write one, into the folder edge-probe of the boot partition")  # fmt: skip
    return Finding("ok", found.name)
