"""What a user gives for a device, checked with the readers that the device has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_probe.budget.trial import run_trial
from edge_probe.bundle import Bundle, RejectedBundleError
from edge_probe.bundle.transport import SUFFIX, unpack_bundle
from edge_probe.bundle.trust import DEVELOPMENT, STORE, read_store
from edge_probe.commands.bench import DEFAULT_RATE_HZ
from edge_probe.errors import EdgeProbeError
from firmware_tools.estimate import estimate
from firmware_tools.profile import DeviceProfile
from firmware_tools.stage.site import DEPLOYMENT, SETTINGS, SPECIES, TRUST
from firmware_tools.stage.site_files import check_deployment, check_settings, check_species
from firmware_tools.verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class Cargo:
    """Files that are good for a device."""

    transport: Path
    """The signed bundle."""
    bundle: Bundle
    """What it holds; its folder lasts as long as `checked` does."""
    trust: Path
    settings: Path | None
    species: Path | None
    deployment: Path | None
    verdict: Verdict
    """Whether the bundle fits the board."""

    @property
    def site_files(self) -> dict[str, Path]:
        """By the names that `edge-firmware setup` looks for."""
        given = {
            f"{self.bundle.name}-{self.bundle.manifest.release}{SUFFIX}": self.transport,
            TRUST: self.trust,
            SETTINGS: self.settings,
            SPECIES: self.species,
            DEPLOYMENT: self.deployment,
        }
        return {name: path for name, path in given.items() if path is not None}


@contextmanager
def checked(
    transport: Path,
    profile: DeviceProfile,
    *,
    trust: Path | None,
    settings: Path | None,
    deployment: Path | None,
) -> Iterator[Cargo]:
    """Read and check everything; nothing is written but a temporary folder.

    Parameters
    ----------
    transport : Path
        The signed bundle, ``NAME.epb``.
    profile : DeviceProfile
    trust : Path or None
        Trust store of the device; None: this machine's, if it has one.
    settings, deployment : Path or None
        As the device shall have them. A species list that the settings name lies beside them.

    Raises
    ------
    EdgeProbeError
        One of them is not good, or they do not go together, or the bundle does not fit the board.
    """
    if trust is None:
        if not STORE.exists():
            raise EdgeProbeError(
                "a device must know whom it trusts: no trust store was named",
                hint="edge-firmware trust PRIMARY.pub BACKUP.pub trust.json, then --trust",
            )
        trust = STORE
    keys = read_store(trust)
    if deployment is not None:
        check_deployment(deployment)
    with TemporaryDirectory(prefix="edge-probe-stage-") as folder:
        try:
            bundle = unpack_bundle(transport, Path(folder, "bundle"), trusted=keys)
        except RejectedBundleError as error:
            _refuse_development(transport, error)
            raise
        rate_hz, species = DEFAULT_RATE_HZ, None
        if settings is not None:
            labels = [label.text for label in bundle.labels]
            options = check_settings(settings, labels)
            rate_hz, species = options.rate or DEFAULT_RATE_HZ, options.species
            if species is not None:
                check_species(species, labels)
        sheet = estimate(bundle, run_trial(bundle.path, trust), profile, rate_hz)
        verdict = judge(sheet, profile)
        yield Cargo(transport, bundle, trust, settings, species, deployment, verdict)


def _refuse_development(transport: Path, error: RejectedBundleError) -> None:
    """Say so, where a bundle is whole and the key that signed it is the one everybody has."""
    with TemporaryDirectory(prefix="edge-probe-stage-") as folder:
        try:
            unpack_bundle(transport, Path(folder, "bundle"), trusted=[DEVELOPMENT])
        except RejectedBundleError:
            return
    raise EdgeProbeError(
        f"{transport}: signed by the development key, which everybody has: a device would run"
        " anybody's bundles",
        hint="edge-firmware sign BUNDLE NAME.epb --key primary.key --release N",
    ) from error
