"""Where things lie on a device."""

from dataclasses import dataclass
from pathlib import Path

USER = "edge-probe"
"""Runs recorder and classifier; owns nothing but what they write."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the root of a device's file system."""

    root: Path = Path("/")

    @property
    def program(self) -> Path:
        """``wheels/`` and the environment that is made of them, ``venv/``."""
        return self.root / "opt/edge-probe"

    @property
    def commands(self) -> Path:
        """Folder of ``edge-probe`` and ``edge-firmware``: links into the environment."""
        return self.root / "usr/bin"

    @property
    def units(self) -> Path:
        """Folder of the systemd units."""
        return self.root / "usr/lib/systemd/system"

    @property
    def config(self) -> Path:
        """What belongs to this device: root's, readable by all."""
        return self.root / "etc/edge-probe"

    @property
    def trust(self) -> Path:
        """The trust store; `edge_probe.bundle.trust.STORE` on the device itself."""
        return self.config / "trust.json"

    @property
    def settings(self) -> Path:
        """Options of ``edge-probe run``."""
        return self.config / "settings.toml"

    @property
    def deployment(self) -> Path:
        """Who, where, with what."""
        return self.config / "deployment.toml"

    @property
    def state(self) -> Path:
        """Recordings and detections; a data partition is mounted here.

        Root's, sticky, and writable by the group of `USER`: recorder and classifier write beside
        the slots and cannot move them.
        """
        return self.root / "var/lib/edge-probe"

    @property
    def slots(self) -> Path:
        """Bundles ``a`` and ``b``, and the link ``current`` to the one in use. Root's."""
        return self.state / "slots"

    @property
    def staged(self) -> Path:
        """Bundle that came with the package, as ``NAME.epb``: for a device that has none yet."""
        return self.program / "staged"

    @property
    def site_folders(self) -> tuple[Path, ...]:
        """Where files for this device may lie that were put there from outside, best first.

        The folder of the boot partition can be written on any laptop; the other one comes with
        the image of a data partition.
        """
        return self.root / "boot/firmware/edge-probe", self.state / "site"
