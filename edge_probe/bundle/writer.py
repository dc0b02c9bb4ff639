"""Writing a bundle: the one way in which bundles come to be. Needs no torch."""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_probe import __version__
from edge_probe.bundle import files
from edge_probe.bundle.conformance import make_conformance
from edge_probe.bundle.files import BundleFolder, FileRecord
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.labels import parse_labels, write_labels
from edge_probe.bundle.manifest import NAME, Manifest
from edge_probe.bundle.publish import new_directory, publish
from edge_probe.bundle.reader import Bundle, open_bundle, read_conformance
from edge_probe.bundle.replay import Replay, pack_replay
from edge_probe.bundle.schema import Json, Section
from edge_probe.bundle.sections import encoder_section, read_encoder, read_windows
from edge_probe.bundle.sign import sign_with_development_key
from edge_probe.bundle.signature import Verifier, verify_in_child
from edge_probe.bundle.tensors import (
    MAX_CONFORMANCE_CHUNKS,
    Calibration,
    Conformance,
    head_spec,
    pack_calibration,
    pack_conformance,
    pack_head,
)
from edge_probe.bundle.trust import DEVELOPMENT
from edge_probe.errors import BundleError
from edge_probe.head import Head, PrototypeHead
from edge_probe.spec import EncoderSpec, WindowSpec

TOOL = f"edge-probe {__version__}"


def write_bundle(
    directory: Path | str,
    *,
    name: str,
    created_utc: str,
    encoder: EncoderSpec,
    graph: Path,
    provenance: Mapping[str, Json],
    head: Head,
    windows: WindowSpec,
    labels: Sequence[str],
    threshold_on: ArrayLike,
    threshold_off: ArrayLike,
    conformance_audio: NDArray[np.int16],
    training: Mapping[str, Json],
    calibration: ArrayLike | None = None,
    external_data: Sequence[Path] = (),
    token_tolerance: float | None = None,
    replay: Replay | None = None,
    tool: str = TOOL,
    replace: bool = False,
    verify: Verifier = verify_in_child,
) -> Bundle:
    """Write, sign and open a bundle; it appears under its name whole or not at all.

    The same arguments give the same bytes.

    Parameters
    ----------
    directory : Path or str
        Where the bundle shall be; its parent exists.
    name : str
        ``[A-Za-z0-9][A-Za-z0-9._-]{0,63}``.
    created_utc : str
        Like ``2026-07-28T09:30:00Z``.
    encoder : EncoderSpec
        ``encoder.graph`` is the name under which ``graph`` is stored.
    graph : Path
        The ONNX graph.
    provenance : mapping
        Where the encoder comes from: ``name``, ``licence``, and any JSON beside them.
    head : Head
    windows : WindowSpec
    labels : sequence of str
        C labels, ``Scientific name_Common name``.
    threshold_on, threshold_off : (C,) float
        Logits.
    conformance_audio : (n,) int16
        Model-rate samples of one window, 1 to 64 chunks; best with some of the classes in it.
    training : mapping
        ``background_clips`` (int), ``no_background`` (bool), and any JSON beside them.
    calibration : (C, 2) float, optional
        Slope and intercept of the displayed score, sigmoid(slope * logit + intercept).
    external_data : sequence of Path
        External data of the graph, stored under their own names.
    token_tolerance : float, optional
        Absolute; by default 0.1 % of the largest token component of the conformance audio.
    replay : Replay, optional
        Scores of training clips, for a head with prototypes; at most 1 MiB.
    tool : str
        What the manifest names as its writer.
    replace : bool
        Replace a bundle that stands there already.
    verify : callable
        As for `open_bundle`.

    Returns
    -------
    Bundle
        The new bundle, as `open_bundle` read it.

    Raises
    ------
    BundleError
        The target exists, or the result would break a rule of ``FORMAT.md``.
    EncoderError
        The graph does not keep what ``encoder`` promises.
    """
    target = Path(directory)
    check_plan(
        target, name=name, encoder=encoder, provenance=provenance, windows=windows,
        labels=labels, replace=replace,
    )  # fmt: skip
    on = np.asarray(threshold_on, np.float64)
    off = np.asarray(threshold_off, np.float64)
    pairs = None if calibration is None else np.asarray(calibration, np.float64)
    audio = _checked_audio(conformance_audio, encoder)
    staging = new_directory(target)
    try:
        _copy_encoder(staging, {encoder.graph: graph} | {path.name: path for path in external_data})
        vectors = make_conformance(staging / encoder.graph, encoder, head, audio, on)
        (staging / files.LABELS).write_bytes(write_labels(tuple(labels)))
        if replay is not None:
            (staging / files.REPLAY).write_bytes(pack_replay(replay))
        _write_head(staging, head, Calibration(on, off, pairs), vectors)
        if token_tolerance is None:
            token_tolerance = _default_tolerance(vectors.tokens)
        manifest = Manifest(
            name=name,
            created_utc=created_utc,
            tool=tool,
            files=_records(staging),
            encoder=encoder,
            provenance=provenance,
            head=head_spec(head),
            windows=windows,
            n_classes=len(labels),
            training=training,
            token_tolerance=token_tolerance,
        )
        bundle = _appear(staging, target, manifest, verify)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return bundle


def derive_bundle(
    parent: Bundle,
    directory: Path | str,
    *,
    created_utc: str,
    head: PrototypeHead,
    calibration: Calibration,
    training: Mapping[str, Json],
    release: int,
    tool: str = TOOL,
    verify: Verifier = verify_in_child,
) -> Bundle:
    """Write a bundle that differs from another one in what comes behind the prototype scores.

    Encoder, prototypes, labels and replay are the parent's, to the byte, and nothing runs the
    encoder: scores of the conformance vectors stay, logits and decisions follow from them.

    Parameters
    ----------
    parent : Bundle
        Not changed.
    directory : Path or str
        Where the new one shall be; nothing is there yet.
    created_utc : str
        Like ``2026-07-28T09:30:00Z``.
    head : PrototypeHead
        That of the parent with another linear layer.
    calibration : Calibration
    training : mapping
        As for `write_bundle`.
    release : int
        1 to 2^31 - 1; 0: none.
    tool, verify
        As for `write_bundle`.

    Raises
    ------
    BundleError
        The target exists, the parent changed since it was opened, or the result would break a rule
        of ``FORMAT.md``.
    """
    target = Path(directory)
    refuse_existing(target)
    stored = read_conformance(parent)
    assert stored.scores is not None  # noqa: S101  every bundle with prototypes stores them
    logits = head.linear.logits(stored.scores)
    decisions = (logits >= calibration.threshold_on).astype(np.uint8)
    vectors = dataclasses.replace(stored, logits=logits, decisions=decisions)
    staging = new_directory(target)
    try:
        folder = BundleFolder(parent.path)
        for name in parent.manifest.files.keys() - _BEHIND_SCORES:
            with (staging / name).open("wb") as file:
                folder.copy(name, parent.manifest.files[name], file.write)
        _write_head(staging, head, calibration, vectors)
        manifest = dataclasses.replace(
            parent.manifest, created_utc=created_utc, tool=tool, files=_records(staging),
            head=head_spec(head), training=training, release=release,
        )  # fmt: skip
        bundle = _appear(staging, target, manifest, verify)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return bundle


_BEHIND_SCORES = {files.HEAD, files.CALIBRATION, files.CONFORMANCE}


def _write_head(staging: Path, head: Head, calibration: Calibration, vectors: Conformance) -> None:
    (staging / files.HEAD).write_bytes(pack_head(head))
    (staging / files.CALIBRATION).write_bytes(pack_calibration(calibration))
    (staging / files.CONFORMANCE).write_bytes(pack_conformance(vectors))


def _appear(staging: Path, target: Path, manifest: Manifest, verify: Verifier) -> Bundle:
    """Sign what is staged, open it, and let it take its name."""
    _sign(staging, manifest)
    bundle = open_bundle(staging, verify=verify, trusted=[DEVELOPMENT])
    publish(staging, target)
    return dataclasses.replace(bundle, path=target)


def check_plan(
    target: Path,
    *,
    name: str,
    encoder: EncoderSpec,
    provenance: Mapping[str, Json],
    windows: WindowSpec,
    labels: Sequence[str],
    replace: bool,
) -> None:
    """Refuse what `write_bundle` would refuse, before hours of training go into it.

    Raises
    ------
    BundleError
    """
    _check_target(target, replace)
    Section("", {"name": name}).text("name", NAME)
    read_encoder(Section("encoder", encoder_section(encoder, provenance)))
    read_windows(Section("windows", dataclasses.asdict(windows)))
    parse_labels(write_labels(tuple(labels)), len(labels))
    new_directory(target).rmdir()


def _copy_encoder(staging: Path, sources: Mapping[str, Path]) -> None:
    """Copy the graph (the first one) and its data, and check it before anything runs it."""
    for name, source in sources.items():
        _copy(source, staging / _bare(name))
    graph, *data_files = (staging / name for name in sources)
    check_graph(graph.read_bytes(), {path.name: path.stat().st_size for path in data_files})


def refuse_existing(target: Path) -> None:
    """Refuse to write a bundle where anything is, or where there is no folder to put it in.

    Raises
    ------
    BundleError
    """
    _check_target(target, replace=False)


def _check_target(target: Path, replace: bool) -> None:
    if not target.parent.is_dir():
        raise BundleError(
            f"{target}: its parent directory does not exist", hint="create it, or name another"
        )
    if not target.exists() and not target.is_symlink():
        return
    entries = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    is_bundle = {files.MANIFEST, files.SIGNATURE} <= entries and not target.is_symlink()
    if not is_bundle or any(entry.is_dir() for entry in target.iterdir()):
        raise BundleError(
            f"{target}: exists and is not a bundle", hint="name a directory that does not exist"
        )
    if not replace:
        raise BundleError(
            f"{target}: there is a bundle already", hint="name another directory, or say --replace"
        )


def _bare(name: str) -> str:
    if files.name_is_bare(name):
        return name
    raise BundleError(
        f"{name!r} is not a name that a bundle may hold",
        hint="use A-Z a-z 0-9 . _ - only, and no folder",
    )


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise BundleError(
            f"{source}: cannot be copied into the bundle: {error.strerror or error}",
            hint="give an ONNX file, and its external data as files beside it",
        ) from error


def _records(staging: Path) -> dict[str, FileRecord]:
    return {path.name: _record(path) for path in sorted(staging.iterdir())}


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(digest, path.stat().st_size)


def _checked_audio(audio: NDArray[np.int16], encoder: EncoderSpec) -> NDArray[np.int16]:
    limit = MAX_CONFORMANCE_CHUNKS * encoder.chunk_samples
    if audio.dtype != np.int16 or audio.ndim != 1 or not 0 < len(audio) <= limit:
        raise BundleError(
            f"conformance audio: expected 1 to {limit} int16 samples, found {audio.dtype} "
            f"of shape {list(audio.shape)}",
            hint="give one window at the rate of the encoder, full scale 32768",
        )
    return audio


def _sign(staging: Path, manifest: Manifest) -> None:
    try:
        data = manifest.to_bytes()
    except (ValueError, TypeError) as error:
        raise BundleError(
            f"the manifest cannot be written as JSON: {error}",
            hint="training and provenance hold texts, finite numbers, lists and objects only",
        ) from error
    (staging / files.MANIFEST).write_bytes(data)
    (staging / files.SIGNATURE).write_bytes(sign_with_development_key(data))


def _default_tolerance(tokens: NDArray[np.float32]) -> float:
    largest = float(np.max(np.abs(tokens), initial=0.0))
    return float(f"{largest * 1e-3:.1e}") if largest > 0 else 1e-6
