"""Whether a signature is valid: the one place that verifies, run as a short-lived process.

This file imports nothing of edge-probe and is started by its path (``signature.py``), so that
the recorder never carries the cryptography library in its memory. On stdin: the public key
(32 bytes), the signature (64 bytes), then the message. On stdout: ``valid`` or ``invalid``.
"""

import sys

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

DEVELOPMENT_PUBLIC_KEY = bytes.fromhex(
    "4ba4295ae9e23f6fa160e376b559560bc11c7574b992f17131516d377e2764ce"
)
"""Public half of the development key; its private half is public too, see ``sign.py``."""

EXIT_NO_CRYPTOGRAPHY = 3


def is_valid(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether this key made this Ed25519 signature of the message.

    Parameters
    ----------
    message, signature, public_key : bytes

    Raises
    ------
    ImportError
        The package cryptography is not installed.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def main() -> int:
    """Check what stands on stdin and answer on stdout."""
    public_key = sys.stdin.buffer.read(PUBLIC_KEY_BYTES)
    signature = sys.stdin.buffer.read(SIGNATURE_BYTES)
    message = sys.stdin.buffer.read()
    try:
        answer = "valid" if is_valid(message, signature, public_key) else "invalid"
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NO_CRYPTOGRAPHY
    sys.stdout.write(answer + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
