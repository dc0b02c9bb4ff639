"""Opening a bundle: list, verify, parse, hash, check; then, and only then, hand it out."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import files
from edge_probe.bundle.files import BundleFolder
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.labels import Label, parse_labels
from edge_probe.bundle.manifest import Manifest, bundle_id, parse_manifest
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.replay import Replay, parse_replay
from edge_probe.bundle.schema import Json
from edge_probe.bundle.signature import Verifier, check_signature, verify_in_child
from edge_probe.bundle.tensors import (
    Conformance,
    parse_calibration,
    parse_conformance,
    parse_head,
)
from edge_probe.bundle.trust import TrustedKey, check_release, trusted_here
from edge_probe.bundle.verify import SIGNATURE_BYTES
from edge_probe.head import Head, PrototypeHead
from edge_probe.head.vectors import steps_of
from edge_probe.spec import EncoderSpec, WindowSpec


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that passed every check of ``FORMAT.md``."""

    path: Path
    id: str
    """``name@`` and the first 12 hexadecimal digits of ``sha256``."""
    sha256: str
    """Of the manifest, in hexadecimal digits: two bundles that differ in anything differ here."""
    manifest: Manifest
    head: Head
    labels: tuple[Label, ...]
    """C, in the order of the logits."""
    threshold_on: NDArray[np.float64]
    """(C,) logits at which a detection may begin."""
    threshold_off: NDArray[np.float64]
    """(C,) logits below which it ends."""
    calibration: NDArray[np.float64] | None
    """(C, 2) slope and intercept of the displayed score, or None."""
    warnings: tuple[str, ...]
    """One line each, to be shown whenever the bundle is loaded."""
    signed_by: TrustedKey

    @property
    def name(self) -> str:
        """The name its maker gave it."""
        return self.manifest.name

    @property
    def encoder(self) -> EncoderSpec:
        """What the encoder graph promises."""
        return self.manifest.encoder

    @property
    def windows(self) -> WindowSpec:
        """How chunks become decisions."""
        return self.manifest.windows

    @property
    def provenance(self) -> Mapping[str, Json]:
        """Where the encoder comes from: ``name``, ``licence`` and what else was noted."""
        return self.manifest.provenance

    @property
    def graph_path(self) -> Path:
        """The encoder graph."""
        return self.path / self.encoder.graph

    def score(self, class_index: int, logit: float) -> tuple[float, bool]:
        """The score that is displayed for a logit.

        Parameters
        ----------
        class_index : int
        logit : float

        Returns
        -------
        score : float
            In [0, 1].
        calibrated : bool
            Whether it may be read as a probability.
        """
        if self.calibration is None:
            return _sigmoid(logit), False
        slope, intercept = self.calibration[class_index]
        return _sigmoid(float(slope) * logit + float(intercept)), True


def open_bundle(
    path: Path | str,
    *,
    verify: Verifier = verify_in_child,
    trusted: Sequence[TrustedKey] | None = None,
) -> Bundle:
    """Open a bundle, or refuse it.

    Parameters
    ----------
    path : Path or str
        Its directory.
    verify : callable
        (message, signature, public key) -> whether the signature is valid. By default a
        short-lived process decides, so that this one never loads the cryptography library.
    trusted : sequence of TrustedKey, optional
        By default those of this machine, see `trust.trusted_here`.

    Raises
    ------
    RejectedBundleError
        The bundle breaks a rule; nothing of it was loaded. A subclass of BundleError.
    """
    folder = BundleFolder(Path(path))
    manifest_bytes = folder.read_limited(files.MANIFEST, files.MAX_MANIFEST_BYTES)
    signature = folder.read_limited(files.SIGNATURE, SIGNATURE_BYTES)
    key = check_signature(
        manifest_bytes, signature, verify, trusted_here() if trusted is None else trusted
    )
    manifest = parse_manifest(manifest_bytes)
    check_release(manifest.release, key)
    folder.check_complete(manifest.files)
    contents = _read_files(folder, manifest)

    labels = parse_labels(contents[files.LABELS], manifest.n_classes)
    head = parse_head(contents[files.HEAD], manifest)
    calibration = parse_calibration(contents[files.CALIBRATION], manifest.n_classes)
    parse_conformance(contents[files.CONFORMANCE], manifest)
    if files.REPLAY in contents:
        _parse_replay(contents[files.REPLAY], manifest, head)
    _check_graph(contents[manifest.encoder.graph], manifest)
    return Bundle(
        path=Path(path),
        id=bundle_id(manifest.name, manifest_bytes),
        sha256=hashlib.sha256(manifest_bytes).hexdigest(),
        manifest=manifest,
        head=head,
        labels=labels,
        threshold_on=calibration.threshold_on,
        threshold_off=calibration.threshold_off,
        calibration=calibration.slope_intercept,
        warnings=_warnings(manifest),
        signed_by=key,
    )


def read_conformance(bundle: Bundle) -> Conformance:
    """The conformance vectors of an open bundle: large, hence read when they are needed.

    Raises
    ------
    RejectedBundleError
        The file changed since the bundle was opened.
    """
    record = bundle.manifest.files[files.CONFORMANCE]
    data = BundleFolder(bundle.path).read(files.CONFORMANCE, record)
    return parse_conformance(data, bundle.manifest)


def read_replay(bundle: Bundle) -> Replay | None:
    """The replay of an open bundle: only needed to go on learning.

    Returns
    -------
    Replay or None
        None: the bundle has none.

    Raises
    ------
    RejectedBundleError
        The file changed since the bundle was opened.
    """
    record = bundle.manifest.files.get(files.REPLAY)
    if record is None:
        return None
    data = BundleFolder(bundle.path).read(files.REPLAY, record)
    return _parse_replay(data, bundle.manifest, bundle.head)


def _parse_replay(data: bytes, manifest: Manifest, head: Head) -> Replay:
    assert isinstance(head, PrototypeHead)  # noqa: S101  the manifest allows no other
    return parse_replay(data, head.n_prototypes, manifest.n_classes, steps_of(head))


def _read_files(folder: BundleFolder, manifest: Manifest) -> dict[str, bytes]:
    """Check size and hash of every file before the first one is parsed; keep what is parsed."""
    parsed = {*files.NAMED, manifest.encoder.graph} & manifest.files.keys()
    for name in sorted(manifest.files.keys() - parsed):
        folder.check(name, manifest.files[name])
    return {name: folder.read(name, manifest.files[name]) for name in sorted(parsed)}


def _check_graph(graph: bytes, manifest: Manifest) -> None:
    roles = {*files.NAMED, manifest.encoder.graph}
    data_files = {
        name: record.size_bytes for name, record in manifest.files.items() if name not in roles
    }
    used = check_graph(graph, data_files)
    for name in sorted(data_files.keys() - used):
        reject(
            Rejection.FILE_UNUSED,
            f"manifest: files: nothing uses {name}",
            hint="only data of the encoder graph may lie beside it",
        )


def _warnings(manifest: Manifest) -> tuple[str, ...]:
    if not manifest.training["no_background"]:
        return ()
    return (
        f"{manifest.name}: trained with --no-background: it never heard a recording without "
        "its classes and will report them where they are not",
    )


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    power = math.exp(x)
    return power / (1.0 + power)
