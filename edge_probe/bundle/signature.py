"""The signature of a manifest, checked by a process that ends before anything is parsed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edge_probe.bundle import verify as child
from edge_probe.bundle.reject import Rejection, reject

PREFIX = b"edge-probe bundle v1\0"
"""Stands before the manifest in what is signed, so that no other signature can be reused."""

SIGNED_BY = "development key (public: proves integrity, not origin)"
"""The one key this version knows."""

Verifier = Callable[[bytes, bytes], bool]
"""(message, signature) -> whether the signature is valid."""

_TIMEOUT_S = 120


def verify_in_child(message: bytes, signature: bytes) -> bool:
    """Let a short-lived process check a signature; this one never loads cryptography.

    Parameters
    ----------
    message : bytes
        Prefix and manifest.
    signature : bytes
        64 bytes.

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
            input=signature + message,
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


def check_signature(manifest: bytes, signature: bytes, verify: Verifier) -> None:
    """Refuse a manifest whose signature is not valid.

    Parameters
    ----------
    manifest, signature : bytes
        As read, nothing of it parsed yet.
    verify : callable
        (message, signature) -> bool.

    Raises
    ------
    RejectedBundleError
    """
    if len(signature) == child.SIGNATURE_BYTES and verify(PREFIX + manifest, signature):
        return
    reject(
        Rejection.SIGNATURE,
        "the signature does not belong to this manifest",
        hint="copy the bundle again; it was changed after it was signed, or signed by a key "
        "that this edge-probe does not know",
    )
