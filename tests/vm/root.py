"""A Debian for arm64: its packages, and the image of a disk with a kernel and an initrd.

Needs root, for the owners of files, and qemu-user in binfmt_misc; no mounts, no loop devices.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vm.cache import Cache, call

SUITE = "bookworm"

PACKAGES = (
    "systemd,systemd-sysv,udev,dbus,kmod,procps,"  # a system
    "e2fsprogs,dosfstools,"  # its disks
    "python3,libportaudio2,alsa-utils"  # what a recorder needs; no venv, no pip
)

GUEST = Path(__file__).parent / "guest"

AT_BOOT = ("virtio_mmio", "virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
"""Modules without which there is no root."""

KEPT_MODULES = (
    "arch", "block", "crypto", "lib", "sound", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/fat",
    "fs/nls", "fs/autofs", "fs/binfmt_misc.ko",
    "drivers/virtio", "drivers/block/virtio_blk.ko", "drivers/char", "drivers/usb", "drivers/scsi",
    "drivers/watchdog",
)  # fmt: skip
"""Of the kernel's package; the machine has no other hardware."""

IMAGE_SIZE = "4G"

_DOWNLOAD_KERNEL = (
    'chroot "$1" sh -c "cd /var/cache && apt-get -q download'
    " \\$(apt-cache depends linux-image-arm64 | sed -n 's/^ *Depends: //p')\""
)


@dataclass(frozen=True, slots=True)
class System:
    """What a machine boots."""

    kernel: Path
    initrd: Path
    image: Path
    """Raw image of the root disk; never written to, see `vm.machine`."""


def debian(cache: Cache) -> Path:
    """A folder with ``root.tar``, Debian and nothing of ours, and ``kernel.deb``."""
    return cache.step("debian", [SUITE, PACKAGES, _DOWNLOAD_KERNEL], _debian)


def _debian(folder: Path) -> None:
    tar = folder / "root.tar"
    # cortex-a53: of "max", the default, qemu 7.2 emulates SVE so slowly that nothing ends
    call(
        ["mmdebstrap", "--mode=root", "--architectures=arm64", "--variant=minbase",
         f"--include={PACKAGES}", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Retries "3"',
         f"--customize-hook={_DOWNLOAD_KERNEL}",
         f'--customize-hook=mv "$1"/var/cache/linux-image-*.deb {folder}/kernel.deb',
         SUITE, tar],
        timeout_s=3600, env={"QEMU_CPU": "cortex-a53"},
    )  # fmt: skip


def system(cache: Cache, tree: Path) -> System:
    """The image of a root disk with our agent in it, and what boots it.

    Parameters
    ----------
    cache : Cache
    tree : Path
        The root as a folder, in a step of the cache; stays as it is.
    """
    base = debian(cache)
    guest = [path.read_bytes() for path in sorted(GUEST.rglob("*")) if path.is_file()]
    code = Path(__file__).read_bytes()
    folder = cache.step(
        "system", [*guest, code, base.name, tree.parent.name],
        lambda target: _system(base, tree, target),
    )  # fmt: skip
    return System(folder / "vmlinuz", folder / "initrd.gz", folder / "root.img")


def _system(base: Path, source: Path, folder: Path) -> None:
    tree = folder / "tree"
    call(["cp", "-a", "--reflink=auto", source, tree], timeout_s=600)
    version = _kernel(base / "kernel.deb", folder, tree)
    _furnish(tree)
    _initrd(tree, version, folder)
    call(
        ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", tree, folder / "root.img", IMAGE_SIZE],
        timeout_s=900,
    )
    shutil.rmtree(tree)


def _kernel(package: Path, folder: Path, tree: Path) -> str:
    """Unpack it without its scripts: they would make an initrd under emulation, for minutes."""
    unpacked = folder / "kernel"
    call(["dpkg-deb", "-x", package, unpacked], timeout_s=300)
    (source,) = (unpacked / "lib/modules").iterdir()
    target = tree / "usr/lib/modules" / source.name
    for name in KEPT_MODULES:
        kept = target / "kernel" / name
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source / "kernel" / name, kept)
    for path in source.glob("modules.*"):
        shutil.move(path, target)
    call(["depmod", "-b", tree, source.name], timeout_s=120)
    shutil.move(unpacked / f"boot/vmlinuz-{source.name}", folder / "vmlinuz")
    shutil.rmtree(unpacked)
    return source.name


def _furnish(tree: Path) -> None:
    """Our agent, the loop of sound, and a system that asks nobody anything at its first boot."""
    shutil.copytree(GUEST / "etc", tree / "etc", dirs_exist_ok=True)
    (tree / "var/lib/vm-sound").mkdir()
    target = tree / "usr/local/lib/edge-probe-vm"
    target.mkdir(parents=True)
    for name in ("agent.py", "trial.py"):
        shutil.copy(GUEST / name, target)
    wanted = tree / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    for unit in ("vm-agent.service", "vm-sound.service"):
        (wanted / unit).symlink_to(f"/etc/systemd/system/{unit}")
    (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    for unit in ("serial-getty@ttyAMA0.service", "getty@tty1.service"):
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")


def _initrd(tree: Path, version: str, folder: Path) -> None:
    """Our first process and the modules that it loads."""
    content = folder / "initrd"
    for name in ("dev", "root"):
        (content / name).mkdir(parents=True)
    call(
        ["aarch64-linux-gnu-gcc", "-static", "-Os", "-Wall", "-Wextra", "-Werror",
         "-o", content / "init", GUEST / "init.c"], timeout_s=60,
    )  # fmt: skip
    names = []
    for name in AT_BOOT:
        shown = call(
            ["modprobe", "-d", tree, "-S", version, "--show-depends", name], timeout_s=30
        ).splitlines()
        names += [line.split()[1] for line in shown if line.startswith("insmod ")]
    ordered = list(dict.fromkeys(names))
    for path in ordered:
        shutil.copy(path, content)
    (content / "modules").write_text("".join(f"/{Path(path).name}\n" for path in ordered))
    with (folder / "initrd.gz").open("wb") as file:
        archive = subprocess.run(
            "find . | cpio -o -H newc --quiet | gzip -n", shell=True, cwd=content, stdout=file,
            timeout=60, check=False,
        )  # fmt: skip
    if archive.returncode:
        raise SystemExit("the initrd could not be made: are cpio and gzip installed?")
    shutil.rmtree(content)
