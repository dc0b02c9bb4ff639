"""The owner's Ed25519 keys: PEM files, as openssl reads and writes them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from edge_probe.bundle.trust import key_id
from edge_probe.errors import EdgeProbeError

SECRET_SUFFIX = ".key"  # noqa: S105
PUBLIC_SUFFIX = ".pub"


def make_keys(name: Path, passphrase: bytes | None) -> str:
    """Make a pair of keys: ``NAME.key`` for its owner only, and ``NAME.pub`` for everybody.

    Parameters
    ----------
    name : Path
    passphrase : bytes or None
        Encrypts ``NAME.key``; None leaves it readable for whoever has the file.

    Returns
    -------
    str
        Id of the public key.

    Raises
    ------
    EdgeProbeError
        One of the files exists.
    OSError
        One of them cannot be written.
    """
    secret_path, public_path = (
        name.with_name(name.name + suffix) for suffix in (SECRET_SUFFIX, PUBLIC_SUFFIX)
    )
    for path in (secret_path, public_path):
        if path.exists() or path.is_symlink():
            raise EdgeProbeError(
                f"{path}: exists", hint="a key is never overwritten; give another name"
            )
    secret = Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write_new(secret_path, secret.private_bytes(pem, pkcs8, encryption), 0o600)
    public = secret.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    _write_new(public_path, public.public_bytes(pem, spki), 0o644)
    return key_id(public.public_bytes_raw())


def read_secret(path: Path, ask: Callable[[], bytes]) -> Ed25519PrivateKey:
    """The secret half of a pair.

    Parameters
    ----------
    path : Path
    ask : callable
        Called for the passphrase if the file is encrypted.

    Raises
    ------
    EdgeProbeError
        It cannot be read, or is no Ed25519 key, or the passphrase is another.
    """
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError:
        key = _decrypt(path, data, ask())
    except (ValueError, UnsupportedAlgorithm):
        _not_a_key(path, "secret", SECRET_SUFFIX)
    if not isinstance(key, Ed25519PrivateKey):
        _not_a_key(path, "secret", SECRET_SUFFIX)
    return key


def read_public(path: Path) -> bytes:
    """The public half of a pair, 32 bytes.

    Raises
    ------
    EdgeProbeError
        It cannot be read, or is no Ed25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        _not_a_key(path, "public", PUBLIC_SUFFIX)
    if not isinstance(key, Ed25519PublicKey):
        _not_a_key(path, "public", PUBLIC_SUFFIX)
    return key.public_bytes_raw()


def _decrypt(path: Path, data: bytes, passphrase: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(data, passphrase)
    except ValueError as error:
        raise EdgeProbeError(
            f"{path}: the passphrase does not fit, or the file is damaged",
            hint="try again; without the passphrase, sign with the backup key",
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EdgeProbeError(
            f"{path}: cannot be read: {error.strerror or error}",
            hint="give a file that edge-firmware keygen wrote",
        ) from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _not_a_key(path: Path, half: str, suffix: str) -> NoReturn:
    raise EdgeProbeError(
        f"{path}: expected the {half} half of an Ed25519 key in a PEM file",
        hint=f"give NAME{suffix} as edge-firmware keygen wrote it",
    )
