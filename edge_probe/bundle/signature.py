"""The signature of a manifest, checked by a process that ends before anything is parsed."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_probe.bundle import verify as child
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.trust import TrustedKey

PREFIX = b"edge-probe bundle v1\0"
"""Stands before the manifest in what is signed, so that no other signature can be reused."""

Verifier = Callable[[bytes, bytes, bytes], bool]
"""(message, signature, public key) -> whether the signature is valid."""

_TIMEOUT_S = 120


def verify_in_child(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Let a short-lived process check a signature; this one never loads cryptography.

    Parameters
    ----------
    message : bytes
        Prefix and manifest.
    signature : bytes
        64 bytes.
    public_key : bytes
        32 bytes.

    Raises
    ------
    RejectedBundleError
        The process could not be started, crashed, or took over two minutes.
    """
    # -P: neither the working directory nor the folder of verify.py may shadow a real module
    command = [sys.executable or "python3", "-P", str(Path(child.__file__))]
    try:
        done = subprocess.run(
            command,
            input=public_key + signature + message,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reject(
            Rejection.SIGNATURE_CHECK,
            f"the process that checks signatures did not run: {error}",
            hint="run edge-probe with the Python of its own virtual environment",
        )
    if done.returncode == 0 and done.stdout.split() in ([b"valid"], [b"invalid"]):
        return done.stdout.split() == [b"valid"]
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
    missing = done.returncode == child.EXIT_NO_CRYPTOGRAPHY
    reject(
        Rejection.SIGNATURE_CHECK,
        f"the signature could not be checked (exit status {done.returncode}): {lines[-1]}",
        hint="pip install cryptography" if missing else "reinstall the package cryptography",
    )


def check_signature(
    manifest: bytes, signature: bytes, verify: Verifier, trusted: Sequence[TrustedKey]
) -> TrustedKey:
    """The key that signed a manifest; refuse one that none of the trusted keys signed.

    Parameters
    ----------
    manifest, signature : bytes
        As read, nothing of it parsed yet.
    verify : callable
        (message, signature, public key) -> bool.
    trusted : sequence of TrustedKey
        In the order in which they are tried.

    Raises
    ------
    RejectedBundleError
    """
    if len(signature) == child.SIGNATURE_BYTES:
        for key in trusted:
            if verify(PREFIX + manifest, signature, key.public):
                return key
    known = ", ".join(key.description for key in trusted)
    reject(
        Rejection.SIGNATURE,
        f"no key that is trusted here signed this manifest; trusted: {known}",
        hint="copy the bundle again if it was changed on its way; otherwise sign it with a trusted "
        "key: edge-firmware sign",
    )
