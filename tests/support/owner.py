"""An owner of devices: keys that were made once, bundles signed with them, a trust store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.transport import pack_bundle
from edge_probe.bundle.trust import DEVELOPMENT, TrustedKey


def key_of(name: str) -> Ed25519PrivateKey:
    """The same key for the same name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


GOLDEN_EPB = GOLDEN.with_name("tiny.epb")
"""The golden bundle as its owner signed it."""

PRIMARY, BACKUP, THIEF = key_of("primary"), key_of("backup"), key_of("thief")

RELEASE = 7
"""Of the bundles that are packed here."""

TRUSTED = (
    TrustedKey("primary", PRIMARY.public_key().public_bytes_raw(), 5),
    TrustedKey("backup", BACKUP.public_key().public_bytes_raw(), 2),
)


def pack(
    target: Path,
    folder: Path = GOLDEN,
    *,
    key: Ed25519PrivateKey = PRIMARY,
    release: int = RELEASE,
    trusted: Sequence[TrustedKey] = (DEVELOPMENT,),
) -> bytes:
    """Sign the bundle in a folder, and give the bytes of the transport file."""
    bundle = open_bundle(folder, verify=verify.is_valid, trusted=trusted)
    pack_bundle(bundle, target, release=release, sign=key.sign)
    return target.read_bytes()


def main() -> None:
    """Write the golden file anew; only for a change of the format."""
    GOLDEN_EPB.unlink(missing_ok=True)
    pack(GOLDEN_EPB)


if __name__ == "__main__":
    main()
