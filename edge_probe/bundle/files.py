"""The directory of a bundle: what may lie in it, and bytes that are read once and checked."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from edge_probe.bundle.reject import Rejection, reject, shown

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
HEAD = "head.safetensors"
LABELS = "labels.txt"
CALIBRATION = "calibration.safetensors"
CONFORMANCE = "conformance.safetensors"
REPLAY = "replay.safetensors"

FIXED = (HEAD, LABELS, CALIBRATION, CONFORMANCE)
"""Files that every manifest lists under these very names."""

NAMED = (*FIXED, REPLAY)
"""Files that are what their name says; all others are the encoder's."""

MAX_NAME = 100
"""Characters of a file name."""

MAX_MANIFEST_BYTES = 2**20
MAX_RELEASE = 2**31 - 1
"""Of a signed bundle."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
BLOCK_BYTES = 2**20
COPY_AGAIN = "copy the bundle again, whole; it is not as it was signed"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What the manifest says about one file."""

    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


def name_is_bare(name: str) -> bool:
    """Whether a name can only mean a file in the bundle's own directory."""
    return _NAME.fullmatch(name) is not None and len(name) <= MAX_NAME and name[-1] != "."


class BundleFolder:
    """A directory that holds nothing but regular files with bare names.

    Parameters
    ----------
    path : Path
        The directory; may itself be a link, so that a slot can point to it.

    Raises
    ------
    RejectedBundleError
        No directory, no manifest, no signature, or an entry that must not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names = _list(path)
        if MANIFEST not in self.names:
            reject(
                Rejection.NOT_A_BUNDLE,
                f"{path}: expected a bundle, found a directory without {MANIFEST}",
                hint="give the directory that edge-export wrote",
            )
        if SIGNATURE not in self.names:
            reject(
                Rejection.FILE_MISSING,
                f"{path}: the bundle is not signed: {SIGNATURE} is missing",
                hint="bundles are signed when edge-export writes them; copy all of its files",
            )

    def check_complete(self, listed: Iterable[str]) -> None:
        """Refuse files that the manifest does not list, and listed files that are absent.

        Raises
        ------
        RejectedBundleError
        """
        expected = {MANIFEST, SIGNATURE, *listed}
        for name in sorted(expected - self.names):
            reject(Rejection.FILE_MISSING, f"{self.path}: {name} is missing", hint=COPY_AGAIN)
        for name in sorted(self.names - expected):
            reject(
                Rejection.FILE_UNLISTED,
                f"{self.path}: {name} is not listed in the manifest",
                hint="nothing but its own files may lie in a bundle; move the file away",
            )

    def read_limited(self, name: str, limit_bytes: int) -> bytes:
        """Bytes of a file that no record describes.

        Raises
        ------
        RejectedBundleError
            Larger than the limit, or unreadable.
        """
        with SourceFile(self.path / name) as file:
            return file.read_at_most(limit_bytes)

    def read(self, name: str, record: FileRecord) -> bytes:
        """Bytes of a listed file, once size and hash agree with the manifest.

        Raises
        ------
        RejectedBundleError
        """
        with SourceFile(self.path / name) as file:
            file.check_size(record.size_bytes)
            data = file.read_at_most(record.size_bytes)
        _check_size(self.path / name, len(data), record.size_bytes)
        check_hash(self.path / name, hashlib.sha256(data).hexdigest(), record.sha256)
        return data

    def check(self, name: str, record: FileRecord) -> None:
        """Size and hash of a listed file that is too large to be kept in memory.

        Raises
        ------
        RejectedBundleError
        """
        self.copy(name, record, lambda block: None)

    def copy(self, name: str, record: FileRecord, write: Callable[[bytes], object]) -> None:
        """Hand out a listed file in blocks; it is as it was signed only if this returns.

        Raises
        ------
        RejectedBundleError
            Size or hash differ from the manifest.
        """
        digest = hashlib.sha256()
        n_read = 0
        with SourceFile(self.path / name) as file:
            file.check_size(record.size_bytes)
            while n_read <= record.size_bytes and (block := file.read_block()):
                digest.update(block)
                write(block)
                n_read += len(block)
        _check_size(self.path / name, n_read, record.size_bytes)
        check_hash(self.path / name, digest.hexdigest(), record.sha256)


class SourceFile:
    """An open file: no link was followed, and no writer at the other end is waited for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDONLY
        for extra in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
            flags |= getattr(os, extra, 0)
        try:
            self._descriptor = os.open(path, flags)
            self._size = os.fstat(self._descriptor).st_size
        except OSError as error:
            _unreadable(path, error)

    def __enter__(self) -> "SourceFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def check_size(self, expected: int) -> None:
        """Refuse a file of another size."""
        _check_size(self._path, self._size, expected)

    def read_block(self, limit_bytes: int = BLOCK_BYTES) -> bytes:
        """The next bytes, at least one; none at the end of the file."""
        try:
            return os.read(self._descriptor, limit_bytes)
        except OSError as error:
            _unreadable(self._path, error)

    def read_at_most(self, limit_bytes: int) -> bytes:
        """The whole file, refused if it is larger."""
        if self._size > limit_bytes:
            reject(
                Rejection.FILE_SIZE,
                f"{self._path}: expected at most {limit_bytes} bytes, found {self._size}",
                hint=COPY_AGAIN,
            )
        data = bytearray()
        while len(data) <= limit_bytes and (block := self.read_block()):
            data += block
        return bytes(data)


def _list(path: Path) -> set[str]:
    try:
        with os.scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            kinds = {e.name: stat.S_IFMT(e.stat(follow_symlinks=False).st_mode) for e in found}
    except (FileNotFoundError, NotADirectoryError, ValueError):
        reject(
            Rejection.NOT_A_BUNDLE,
            f"{path}: expected the directory of a bundle, found "
            + ("a file" if path.is_file() else "nothing"),
            hint="give the directory that edge-export wrote, or unpack NAME.epb: "
            "edge-firmware unpack",
        )
    except OSError as error:
        _unreadable(path, error)
    for name, kind in kinds.items():
        if kind != stat.S_IFREG:
            reject(
                Rejection.FILE_KIND,
                f"{path}: {shown(name)} is not a regular file",
                hint="no links, directories or devices may lie in a bundle; move it away",
            )
        if not name_is_bare(name):
            reject(
                Rejection.FILE_NAME,
                f"{path}: {shown(name)} is not a name that a bundle may hold",
                hint="move the file away; bundle files have names of A-Z a-z 0-9 . _ -",
            )
    return set(kinds)


def _unreadable(path: Path, error: OSError) -> NoReturn:
    hint = "check who may read the bundle, and the medium it lies on"
    if isinstance(error, IsADirectoryError):
        hint = "name a signed file: edge-firmware sign makes one of a bundle's folder"
    reject(
        Rejection.FILE_UNREADABLE,
        f"{path}: cannot be read: {error.strerror or error}",
        hint=hint,
    )


def _check_size(path: Path, found: int, expected: int) -> None:
    if found != expected:
        reject(
            Rejection.FILE_SIZE,
            f"{path}: expected {expected} bytes, found {found}",
            hint=COPY_AGAIN,
        )


def check_hash(path: Path | str, found: str, expected: str) -> None:
    """Refuse a file with another sha256, in hexadecimal digits."""
    if found != expected:
        reject(
            Rejection.FILE_HASH,
            f"{path}: expected sha256 {expected[:12]}..., found {found[:12]}...",
            hint=COPY_AGAIN,
        )
