"""What the machine is given: keys of an owner, signed bundles, the package, a scene to hear.

All of it is made with the documented commands, as somebody at a desk would.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from vm.cache import Cache, call

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "edge_probe" / "data"
BUNDLE = DATA / "demo_bundle"

PROFILE = "pi-zero-2w"
RATE_HZ = 48_000

STAGED_RELEASE = 7
"""Of the bundle that comes with the package; updates are numbered higher, a downgrade lower."""

SETTINGS = f"""\
device = "card:Loopback"
rate = {RATE_HZ}
floor = 0.2
segment = 30
no-flac = true
"""

DEPLOYMENT = 'deployment_id = "vm"\nrecorder_serial = "vm-1"\n'


@dataclass(frozen=True, slots=True)
class Parts:
    """A folder with all of it."""

    folder: Path

    @property
    def trust(self) -> Path:
        """Trust store of the owner's devices."""
        return self.folder / "trust.json"

    def signed(self, release: int) -> Path:
        """The demo bundle as the owner signed it."""
        return self.folder / f"demo-{release}.epb"

    @property
    def package(self) -> Path:
        """The .deb."""
        (found,) = self.folder.glob("out/*.deb")
        return found

    @property
    def scene(self) -> Path:
        """What the microphone hears: 16 bits, one channel, at the recorder's rate."""
        return self.folder / "scene.wav"


def firmware(*words: str | Path, timeout_s: float = 120.0) -> str:
    """Run ``edge-firmware`` of this checkout."""
    return call(
        [sys.executable, "-m", "firmware_tools", *words], timeout_s=timeout_s, cwd=REPOSITORY
    )


def sources() -> list[bytes]:
    """All that goes into the wheel."""
    folders = [REPOSITORY / name for name in ("edge_probe", "firmware_tools", "export")]
    files = [
        path for root in folders for path in root.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so")
    ]  # fmt: skip
    files += [REPOSITORY / "pyproject.toml", REPOSITORY / "setup.py"]
    return [path.read_bytes() for path in sorted(files)]


def parts(cache: Cache) -> Parts:
    """Everything, of this checkout."""
    return Parts(cache.step("parts", [*sources(), Path(__file__).read_bytes()], _make))


def _make(folder: Path) -> None:
    made = Parts(folder)
    for name in ("primary", "backup", "stranger"):
        firmware("keygen", folder / name, "--no-passphrase")
    firmware("trust", folder / "primary.pub", folder / "backup.pub", made.trust)
    for release in range(STAGED_RELEASE - 1, STAGED_RELEASE + 4):
        firmware(
            "sign", BUNDLE, made.signed(release), "--key", folder / "primary.key",
            "--release", str(release),
        )  # fmt: skip
    (folder / "settings.toml").write_text(SETTINGS, "utf-8")
    (folder / "deployment.toml").write_text(DEPLOYMENT, "utf-8")
    _scene(made.scene)
    firmware(
        "stage", made.signed(STAGED_RELEASE), folder / "out", "--profile", PROFILE,
        "--form", "deb", "--settings", folder / "settings.toml",
        "--deployment", folder / "deployment.toml", "--trust", made.trust,
        timeout_s=900,
    )  # fmt: skip


def _scene(target: Path) -> None:
    """The demonstration's scene as a sound card plays it."""
    sound, rate_hz = sf.read(DATA / "demo_scene.ogg", dtype="float32", always_2d=True)
    resampled = soxr.resample(sound[:, 0], rate_hz, RATE_HZ)
    sf.write(target, np.clip(resampled, -1, 1), RATE_HZ, subtype="PCM_16")
