"""``NAME.epb``: a bundle as one file to carry, checked while it streams, unpacked before use."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from edge_probe.bundle import files
from edge_probe.bundle.files import (
    MAX_MANIFEST_BYTES,
    MAX_RELEASE,
    BundleFolder,
    FileRecord,
    SourceFile,
)
from edge_probe.bundle.manifest import Manifest, bundle_id, parse_manifest
from edge_probe.bundle.publish import hidden_name, new_directory, publish, sync
from edge_probe.bundle.reader import Bundle, open_bundle
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.signature import PREFIX, Verifier, check_signature, verify_in_child
from edge_probe.bundle.trust import TrustedKey, check_release, trusted_here
from edge_probe.bundle.verify import SIGNATURE_BYTES
from edge_probe.errors import BundleError

SUFFIX = ".epb"
MAGIC = b"EPB1\r\n\x1a\n"
"""A copy that changed line ends, or stopped at Ctrl-Z, is seen in the first 8 bytes."""

LENGTH_BYTES = 4

Read = Callable[[int], bytes]
"""At most so many next bytes, at least one; none at the end."""

Create = Callable[[str], AbstractContextManager[BinaryIO]]
"""A new file of a name, open for writing."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What stands at the head of a transport file; it was signed, its files were not looked at."""

    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes
    signed_by: TrustedKey

    @property
    def id(self) -> str:
        """Of the bundle that this file holds if it is whole."""
        return bundle_id(self.manifest.name, self.manifest_bytes)

    @property
    def sha256(self) -> str:
        """Of the manifest, as `Bundle.sha256`."""
        return hashlib.sha256(self.manifest_bytes).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Of the transport file, if it is whole."""
        contents = sum(record.size_bytes for record in self.manifest.files.values())
        head = len(MAGIC) + LENGTH_BYTES + len(self.manifest_bytes) + SIGNATURE_BYTES
        return head + contents


def read_offer(
    source: Path | str,
    *,
    verify: Verifier = verify_in_child,
    trusted: Sequence[TrustedKey] | None = None,
) -> Offer:
    """Look at the head of a transport file: who signed it, which release, whether it can be whole.

    Parameters
    ----------
    source : Path or str
        The ``.epb`` file, perhaps on a medium that anybody could write to.
    verify, trusted
        As for `open_bundle`.

    Raises
    ------
    RejectedBundleError
        It is not signed by a key that is trusted, too old, or of another size than it says.
    """
    with SourceFile(Path(source)) as file:
        stream = _Stream(file.read_block, str(source))
        offer = _read_offer(stream, verify, trusted_here() if trusted is None else trusted)
        file.check_size(offer.n_bytes)
    return offer


def unpack_bundle(
    source: Path | str,
    directory: Path | str,
    *,
    verify: Verifier = verify_in_child,
    trusted: Sequence[TrustedKey] | None = None,
) -> Bundle:
    """Check a transport file and unpack it; the bundle appears whole or not at all.

    Parameters
    ----------
    source : Path or str
        The ``.epb`` file, perhaps on a medium that anybody could write to.
    directory : Path or str
        Where the bundle shall be; does not exist yet, its parent does.
    verify, trusted
        As for `open_bundle`.

    Returns
    -------
    Bundle
        As `open_bundle` read it from the directory.

    Raises
    ------
    RejectedBundleError
        Whatever is wrong with the file; nothing of it is left behind.
    BundleError
        The directory exists, or cannot be made.
    OSError
        The disk takes no more.
    """
    target = Path(directory)
    if target.exists() or target.is_symlink():
        raise BundleError(f"{target}: exists", hint="name a directory that does not exist")
    keys = trusted_here() if trusted is None else trusted
    with SourceFile(Path(source)) as file:
        staging = new_directory(target)
        try:
            read_transport(
                file.read_block,
                lambda name: (staging / name).open("xb"),
                where=str(source), verify=verify, trusted=keys,
            )  # fmt: skip
            bundle = open_bundle(staging, verify=verify, trusted=keys)
            publish(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return replace(bundle, path=target)


def read_transport(
    read: Read,
    create: Create,
    *,
    where: str,
    verify: Verifier,
    trusted: Sequence[TrustedKey],
) -> Manifest:
    """Check a bundle while it streams by, and keep its files; they are good only if this returns.

    Parameters
    ----------
    read : callable
        The stream.
    create : callable
        Called for each file once the manifest is known to be signed.
    where : str
        What the stream is called in messages.
    verify, trusted
        As for `open_bundle`.

    Raises
    ------
    RejectedBundleError
    """
    stream = _Stream(read, where)
    offer = _read_offer(stream, verify, trusted)
    manifest = offer.manifest
    for name, data in ((files.MANIFEST, offer.manifest_bytes), (files.SIGNATURE, offer.signature)):
        with create(name) as file:
            file.write(data)
    for name in sorted(manifest.files):
        with create(name) as file:
            stream.copy(name, manifest.files[name], file)
    stream.expect_end()
    return manifest


def release_of(bundle: Bundle, sha256: str, most: int = 4096) -> int | None:
    """Which release of a bundle has this sha256: signing for devices changes its manifest.

    Parameters
    ----------
    bundle : Bundle
    sha256 : str
        Of a manifest, in hexadecimal digits.
    most : int
        Highest release to try.

    Returns
    -------
    int or None
        Its own, without being signed again, or a higher one; None: it is another bundle.
    """
    if sha256 == bundle.sha256:
        return bundle.manifest.release
    for release in range(1, most + 1):
        manifest = replace(bundle.manifest, release=release).to_bytes()
        if hashlib.sha256(manifest).hexdigest() == sha256:
            return release
    return None


def pack_bundle(
    bundle: Bundle, target: Path | str, *, release: int, sign: Callable[[bytes], bytes]
) -> str:
    """Sign a bundle for devices and write it as one file that appears whole or not at all.

    Parameters
    ----------
    bundle : Bundle
        Stays as it is.
    target : Path or str
        ``NAME.epb``; does not exist yet.
    release : int
        1 to 2^31 - 1, higher than that of any bundle the devices were given before.
    sign : callable
        message -> Ed25519 signature (64 bytes).

    Returns
    -------
    str
        Id of the bundle as it was signed.

    Raises
    ------
    BundleError
        The target exists or is no ``.epb``, the release is out of range, or the bundle changed
        since it was opened.
    OSError
        The file cannot be written.
    """
    target = Path(target)
    if target.suffix != SUFFIX or target.exists() or target.is_symlink():
        raise BundleError(
            f"{target}: expected a new file NAME{SUFFIX}",
            hint="releases are never overwritten; name another file",
        )
    if not 1 <= release <= MAX_RELEASE:
        raise BundleError(
            f"release {release}: expected 1 to {MAX_RELEASE}",
            hint="count releases from 1; devices refuse numbers lower than they had",
        )
    manifest = replace(bundle.manifest, release=release)
    data = manifest.to_bytes()
    folder = BundleFolder(bundle.path)
    part = hidden_name(target, "new")
    try:
        with part.open("xb") as out:
            out.write(MAGIC + len(data).to_bytes(LENGTH_BYTES, "little"))
            out.write(data + sign(PREFIX + data))
            for name in sorted(manifest.files):
                folder.copy(name, manifest.files[name], out.write)
        sync(part)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)
    return bundle_id(manifest.name, data)


class _Stream:
    """Bytes in the order in which they come, and never more than were asked for."""

    def __init__(self, read: Read, where: str) -> None:
        self._read, self._where = read, where

    def exactly(self, n_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < n_bytes:
            data += self._block(n_bytes - len(data))
        return bytes(data)

    def copy(self, name: str, record: FileRecord, file: BinaryIO) -> None:
        digest, missing = hashlib.sha256(), record.size_bytes
        while missing:
            block = self._block(min(missing, files.BLOCK_BYTES))
            digest.update(block)
            file.write(block)
            missing -= len(block)
        files.check_hash(f"{self._where}: {name}", digest.hexdigest(), record.sha256)

    def expect_end(self) -> None:
        if self._read(1):
            self.refuse("expected the end of the file, found more")

    def _block(self, limit_bytes: int) -> bytes:
        block = self._read(limit_bytes)
        if not block:
            self.refuse("expected more, found the end of the file")
        return block

    def refuse(self, found: str) -> NoReturn:
        reject(Rejection.TRANSPORT, f"{self._where}: {found}", hint=files.COPY_AGAIN)


def _read_offer(stream: _Stream, verify: Verifier, trusted: Sequence[TrustedKey]) -> Offer:
    """Nothing is parsed before the signature was checked."""
    manifest_bytes = _read_manifest(stream)
    signature = stream.exactly(SIGNATURE_BYTES)
    key = check_signature(manifest_bytes, signature, verify, trusted)
    manifest = parse_manifest(manifest_bytes)
    check_release(manifest.release, key)
    return Offer(manifest, manifest_bytes, signature, key)


def _read_manifest(stream: _Stream) -> bytes:
    if stream.exactly(len(MAGIC)) != MAGIC:
        stream.refuse(f"expected a bundle in transport form ({SUFFIX}), found something else")
    n_bytes = int.from_bytes(stream.exactly(LENGTH_BYTES), "little")
    if not 0 < n_bytes <= MAX_MANIFEST_BYTES:
        stream.refuse(f"expected a manifest of 1 to {MAX_MANIFEST_BYTES} bytes, found {n_bytes}")
    return stream.exactly(n_bytes)
