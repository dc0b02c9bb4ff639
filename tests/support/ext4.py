"""A small ext4 file system on a loop device, and how to cut its power."""

import contextlib
import fcntl
import os
import subprocess
import time
from pathlib import Path

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""

_NO_LOG_FLUSH = b"\2\0\0\0"

TOOLS = ("mkfs.ext4", "mount", "umount", "/dev/loop-control")


def make(image: Path, size_mib: int) -> None:
    """A file that holds an empty file system with a journal."""
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    options = ["-b", "4096", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0"]
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, image], check=True)


class Mount:
    """An image that is mounted, until the end of the block."""

    def __init__(self, image: Path, at: Path) -> None:
        self.image = image
        self.at = at

    def __enter__(self) -> Path:
        self.at.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.at], check=True)
        return self.at

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        lazily = ["-l"] if kind else []  # a failure may hold files open that tell of it
        for _attempt in range(100):  # as may a process that is just being started elsewhere
            done = subprocess.run(["umount", *lazily, self.at], capture_output=True, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.02)
        done.check_returncode()
        while not kind and _has_loop_device(self.image):
            time.sleep(0.01)  # mount(8) would take it again, with what it remembers of the image


def _has_loop_device(image: Path) -> bool:
    """The kernel lets go of it some time after the file system is gone."""
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # gone by now
            if backing.read_text().rstrip("\n") == str(image.resolve()):
                return True
    return False


def cut_power(mounted: Path) -> None:
    """What was not written by now never will be.

    Stop whoever writes some milliseconds before: a sync on its way may otherwise return success
    without having been one.
    """
    assert mounted.stat().st_dev != mounted.parent.stat().st_dev, f"{mounted}: not a mount"
    fd = os.open(mounted, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, _NO_LOG_FLUSH)
    finally:
        os.close(fd)
