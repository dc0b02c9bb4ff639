"""Which keys this machine trusts, and from which release on.

A machine without a trust store is a desk: it trusts the development key. A machine with one is
*staged*: it trusts the primary and the backup key of its owner and never the development key.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_probe.bundle.files import MAX_RELEASE
from edge_probe.bundle.publish import publish_file
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.verify import DEVELOPMENT_PUBLIC_KEY, PUBLIC_KEY_BYTES
from edge_probe.errors import BundleError

STORE = Path("/etc/edge-probe/trust.json")
"""Where the trust store of a staged device lies: no setting and no variable names another."""

FORMAT = "edge-probe trust"
FORMAT_VERSION = 1
ROLES = ("primary", "backup")
MAX_STORE_BYTES = 4096

_HINT = "write it again: edge-firmware trust PRIMARY.pub BACKUP.pub"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and what its signatures are good for."""

    role: str
    """``primary``, ``backup`` or ``development``."""
    public: bytes
    """32 bytes."""
    min_release: int
    """Bundles of lower releases are refused when this key signed them."""

    @property
    def id(self) -> str:
        """What people compare: the first 16 hexadecimal digits of the key's sha256."""
        return key_id(self.public)

    @property
    def description(self) -> str:
        """Role and id, for people."""
        if self.public == DEVELOPMENT_PUBLIC_KEY:
            return "development key (public: proves integrity, not origin)"
        return f"{self.role} key {self.id}"


DEVELOPMENT = TrustedKey("development", DEVELOPMENT_PUBLIC_KEY, 0)
"""What edge-export signs with."""


def key_id(public: bytes) -> str:
    """The first 16 hexadecimal digits of the sha256 of a public key (32 bytes)."""
    return hashlib.sha256(public).hexdigest()[:16]


def trusted_here() -> tuple[TrustedKey, ...]:
    """The keys that this machine trusts, in the order in which they are tried.

    Raises
    ------
    RejectedBundleError
        There is a trust store and it cannot be read: then nothing is trusted.
    """
    return read_store(STORE) if _exists(STORE) else (DEVELOPMENT,)


def read_store(path: Path) -> tuple[TrustedKey, ...]:
    """The primary and the backup key of a trust store.

    Raises
    ------
    RejectedBundleError
        It cannot be read, or is not as `write_store` writes it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_STORE_BYTES + 1)
    except OSError as error:
        reject(
            Rejection.TRUST_STORE,
            f"{path}: the trust store cannot be read: {error.strerror or error}",
            hint="it must be readable by the user that runs edge-probe",
        )
    keys = _parse(data)
    fault = _fault(keys)
    if fault or _to_bytes(keys) != data:
        reject(
            Rejection.TRUST_STORE,
            f"{path}: expected a trust store as edge-firmware writes it, found "
            + (fault or "another form"),
            hint=_HINT,
        )
    return keys


def write_store(path: Path, keys: Sequence[TrustedKey]) -> None:
    """Write a trust store, or replace one: after a power cut it is the old one or the new.

    Parameters
    ----------
    path : Path
    keys : sequence of TrustedKey
        The primary key and the backup key.

    Raises
    ------
    BundleError
        Not two different keys of one's own, or a release out of range.
    OSError
        It cannot be written.
    """
    if fault := _fault(keys):
        raise BundleError(f"no trust store can be made of these keys: {fault}", hint=_HINT)
    publish_file(path, _to_bytes(keys))


def raise_minimum(path: Path, key: TrustedKey, release: int) -> TrustedKey:
    """Refuse from now on what this key signed for lower releases; never lowers anything.

    The other key keeps its own minimum: whoever steals one key and signs the highest release
    there is does not lock out the other one.

    Parameters
    ----------
    path : Path
        The trust store.
    key : TrustedKey
        One of it.
    release : int
        The lowest release that the device may still have to run.

    Returns
    -------
    TrustedKey
        The key as it stands in the store now.

    Raises
    ------
    RejectedBundleError
        The store cannot be read.
    OSError
        It cannot be written; it is as it was.
    """
    keys = read_store(path)
    raised = [
        replace(known, min_release=max(known.min_release, release))
        if known.public == key.public
        else known
        for known in keys
    ]
    if raised != list(keys):
        write_store(path, raised)
    return next(known for known in raised if known.public == key.public)


def check_release(release: int, key: TrustedKey) -> None:
    """Refuse a release below what the key that signed it is trusted for.

    Raises
    ------
    RejectedBundleError
    """
    if release >= key.min_release:
        return
    found = f"release {release}" if release else "a bundle without a release number"
    reject(
        Rejection.RELEASE,
        f"expected release {key.min_release} or later from the {key.description}, found {found}",
        hint="sign it with a higher number: edge-firmware sign --release N",
    )


def _exists(path: Path) -> bool:
    """Whether this machine was staged; a link that leads nowhere says so, too."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # reading it will say why
    return True


def _fault(keys: Sequence[TrustedKey]) -> str | None:
    """Why these are not the keys of a trust store."""
    publics = [key.public for key in keys]
    rules = [
        (tuple(key.role for key in keys) == ROLES, "not a primary and a backup key"),
        (all(len(public) == PUBLIC_KEY_BYTES for public in publics), "a key is not 32 bytes"),
        (len(set(publics)) == len(publics), "primary and backup are the same key"),
        (DEVELOPMENT_PUBLIC_KEY not in publics, "the development key, which everybody has"),
        (
            all(1 <= key.min_release <= MAX_RELEASE for key in keys),
            f"a release that is not 1 to {MAX_RELEASE}",
        ),
    ]
    return next((fault for holds, fault in rules if not holds), None)


def _to_bytes(keys: Sequence[TrustedKey]) -> bytes:
    value = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **{
            key.role: {
                "id": key.id,
                "min_release": key.min_release,
                "public_key": key.public.hex(),
            }
            for key in keys
        },
    }
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def _parse(data: bytes) -> tuple[TrustedKey, ...]:
    """The keys, if any; that they give these very bytes again is for the caller to check."""
    try:
        value = json.loads(data)
        found = [(role, value[role]["public_key"], value[role]["min_release"]) for role in ROLES]
        keys = tuple(TrustedKey(role, bytes.fromhex(text), low) for role, text, low in found)
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return keys if all(type(key.min_release) is int for key in keys) else ()
