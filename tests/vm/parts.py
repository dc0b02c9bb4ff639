"""What the machine is given: keys of an owner, signed bundles, the package, a scene to hear.

All of it is made with the documented commands, as somebody at a desk would.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from edge_probe.bundle import open_bundle
from edge_probe.bundle.sign import sign_with_development_key
from edge_probe.bundle.signature import PREFIX
from edge_probe.bundle.transport import pack_bundle
from firmware_tools.layout import Layout
from vm.cache import Cache, call
from vm.slow_bundle import write_slow_bundle

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "edge_probe" / "data"
BUNDLE = DATA / "demo_bundle"

PROFILE = "pi-zero-2w"
RATE_HZ = 48_000

STAGED_RELEASE = 7
"""Of the bundle that comes with the package; updates are numbered higher, a downgrade lower."""

SETTINGS = f"""\
bundle = "{Layout().slots / "current"}"
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
    def too_slow(self) -> Path:
        """A bundle of the owner that is right and too slow."""
        return self.folder / "too-slow.epb"

    @property
    def by_stranger(self) -> Path:
        """The demo bundle, signed with a key that the device does not know."""
        return self.folder / "stranger.epb"

    @property
    def by_development(self) -> Path:
        """The demo bundle, signed with the key that is no secret."""
        return self.folder / "development.epb"

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
    made_here = [Path(__file__), Path(__file__).with_name("slow_bundle.py")]
    return Parts(cache.step("parts", [*sources(), *map(Path.read_bytes, made_here)], _make))


def _make(folder: Path) -> None:
    made = Parts(folder)
    for name in ("primary", "backup", "stranger"):
        firmware("keygen", folder / name, "--no-passphrase")
    firmware("trust", folder / "primary.pub", folder / "backup.pub", made.trust)
    for release in (-1, 0, 1, 3):
        _sign(folder, BUNDLE, made.signed(STAGED_RELEASE + release), STAGED_RELEASE + release)
    write_slow_bundle(folder / "too-slow")
    _sign(folder, folder / "too-slow", made.too_slow, STAGED_RELEASE + 2)
    _sign(folder, BUNDLE, made.by_stranger, STAGED_RELEASE + 9, key="stranger")
    pack_bundle(
        open_bundle(BUNDLE), made.by_development, release=STAGED_RELEASE + 9,
        sign=lambda message: sign_with_development_key(message.removeprefix(PREFIX)),
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


def _sign(folder: Path, bundle: Path, target: Path, release: int, *, key: str = "primary") -> None:
    firmware("sign", bundle, target, "--key", folder / f"{key}.key", "--release", str(release))


def _scene(target: Path) -> None:
    """The demonstration's scene as a sound card plays it."""
    sound, rate_hz = sf.read(DATA / "demo_scene.ogg", dtype="float32", always_2d=True)
    resampled = soxr.resample(sound[:, 0], rate_hz, RATE_HZ)
    sf.write(target, np.clip(resampled, -1, 1), RATE_HZ, subtype="PCM_16")
