"""Signing with the development key, whose secret is no secret.

The key is derived from a sentence anybody can read below. A signature made with it proves that
a bundle is whole and unchanged since `write_bundle`; it does not prove who made it. For devices a
bundle is signed again, with a key of one's own: ``edge-firmware sign``.
"""

import hashlib

from edge_probe.bundle.signature import PREFIX
from edge_probe.errors import BundleError

DEVELOPMENT_SECRET = b"edge-probe development key: public, proves integrity, not origin"


def sign_with_development_key(manifest: bytes) -> bytes:
    """Ed25519 signature (64 bytes) over the prefix and the manifest.

    Parameters
    ----------
    manifest : bytes
        Canonical manifest, as it will stand in ``manifest.json``.

    Raises
    ------
    BundleError
        The package cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise BundleError(
            f"signing a bundle needs the package cryptography: {error}",
            hint="pip install cryptography",
        ) from error
    seed = hashlib.sha256(DEVELOPMENT_SECRET).digest()
    return Ed25519PrivateKey.from_private_bytes(seed).sign(PREFIX + manifest)
