"""The FUSE side of `block_log`. Usage: fuse_disk.py IMAGE LOG FOLDER; ends when it is unmounted."""

import os
import stat
import sys
import time
from errno import ENOENT
from pathlib import Path

import mfusepy
from support.block_log import DISK, FLUSH, HEAD


class _Disk(mfusepy.Operations):  # type: ignore[misc]
    use_ns = True

    def __init__(self, image: Path, log: Path) -> None:
        self._disk = os.open(image, os.O_RDWR)
        self._size_bytes = image.stat().st_size
        self._log = log.open("wb")

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != f"/{DISK}":
            raise mfusepy.FuseOSError(ENOENT)
        return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": self._size_bytes}

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self._disk, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._note(offset, len(data))
        self._log.write(data)
        return os.pwrite(self._disk, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._note(0, FLUSH)
        self._log.flush()
        return 0

    def destroy(self, path: str) -> None:
        self._log.close()

    def _note(self, offset: int, size: int) -> None:
        self._log.write(HEAD.pack(time.monotonic_ns(), offset, size))


if __name__ == "__main__":
    image, log, folder = map(Path, sys.argv[1:])
    mfusepy.FUSE(_Disk(image, log), str(folder), foreground=True, nothreads=True)
