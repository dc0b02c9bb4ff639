"""What the tensor files of a bundle hold: heads, thresholds, conformance vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import files
from edge_probe.bundle.manifest import Manifest
from edge_probe.bundle.reject import Rejection, reject
from edge_probe.bundle.sections import HeadSpec
from edge_probe.bundle.tensor_file import (
    EXPORT_AGAIN,
    Arrays,
    Layout,
    check,
    check_names,
    check_range,
    pack,
    unpack,
)
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Head,
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
    ProtofloatHead,
    SparseInt8Linear,
)
from edge_probe.head.linear import Linear, layer_arrays
from edge_probe.head.packing import n_bytes, padding_is_zero
from edge_probe.head.protofloat import LENGTH_TOLERANCE
from edge_probe.spec import MAX_COMPONENT

MAX_CONFORMANCE_CHUNKS = 64


@dataclass(frozen=True, slots=True)
class Calibration:
    """Thresholds on logits, and how a logit becomes the displayed score."""

    threshold_on: NDArray[np.float64]
    """(C,) logits at which a detection may begin."""
    threshold_off: NDArray[np.float64]
    """(C,) logits below which it ends; at most ``threshold_on``."""
    slope_intercept: NDArray[np.float64] | None
    """(C, 2): score = sigmoid(slope * logit + intercept); None: sigmoid(logit)."""


@dataclass(frozen=True, slots=True)
class Conformance:
    """One window of audio and everything that must follow from it."""

    audio: NDArray[np.int16]
    """(n,) model-rate samples; the last chunk is zero-padded."""
    tokens: NDArray[np.float32]
    """(chunks, T, D)"""
    logits: NDArray[np.float64]
    """(C,)"""
    decisions: NDArray[np.uint8]
    """(C,) 1 where the logit reaches the on-threshold."""
    digits: NDArray[np.uint8] | None
    """(chunks, T, R D); None for float tokens."""
    scores: NDArray[np.float32] | None
    """(M,) prototype scores of the window; None for mean-linear."""
    score_chunks: NDArray[np.int32] | None
    """(M,) chunk of the window in which the score was reached."""
    score_tokens: NDArray[np.int32] | None
    """(M,) token of that chunk."""


def head_layout(head: HeadSpec, n_dims: int, n_classes: int, n_own: int) -> Layout:
    """Tensors that ``head.safetensors`` must hold; ``n_own`` is k of a sparse layer."""
    per_class = (np.float64, (n_classes,))
    if head.kind == "mean-linear":
        return {"weights": (np.float32, (n_classes, n_dims)), "bias": per_class}
    n_columns = {
        "int8": head.n_prototypes,
        "int8-grouped": head.n_prototypes // n_classes,
        "int8-sparse": n_own,
        "float32": head.n_prototypes,
    }[head.linear]
    n_digits = n_dims * head.n_thresholds
    packed, real = (np.uint8, n_bytes(n_digits)), (np.float32, n_dims)
    dtype, n_components = packed if head.kind == "protobin" else real
    layout: Layout = {
        "prototypes": (dtype, (head.n_prototypes, n_components)),
        "offset": (np.float32, (n_digits,)),
        "weights": (np.float32 if head.linear == "float32" else np.int8, (n_classes, n_columns)),
        "bias": per_class,
        "reference_scores": (np.float32, (head.n_prototypes,)),
    }
    if head.linear != "float32":
        layout["scale"] = per_class
    if head.linear == "int8-sparse":
        layout["columns"] = (np.int32, (n_classes, n_columns))
    return layout


def head_spec(head: Head) -> HeadSpec:
    """What the manifest must say about a head."""
    if isinstance(head, MeanLinearHead):
        return HeadSpec("mean-linear", "float", 0, "float32")
    floor = isinstance(head, ProtofloatHead) and head.floor_at_zero
    return HeadSpec(
        head.kind, head.bits, head.n_prototypes, head.linear.kind, floor, head.n_thresholds
    )


def pack_head(head: Head) -> bytes:
    """Content of ``head.safetensors``."""
    arrays = layer_arrays(head.linear)
    if not isinstance(head, MeanLinearHead):
        arrays["prototypes"] = head.prototypes
        arrays["offset"] = head.offset
        arrays["reference_scores"] = head.reference_scores
    return pack(arrays)


def parse_head(data: bytes, manifest: Manifest) -> Head:
    """The head of a bundle.

    Parameters
    ----------
    data : bytes
        Content of ``head.safetensors``, its hash already checked.
    manifest : Manifest

    Raises
    ------
    RejectedBundleError
    """
    spec, n_dims = manifest.head, manifest.encoder.grid.n_dims
    found = unpack(files.HEAD, data)
    layout = head_layout(spec, n_dims, manifest.n_classes, _n_own(found, spec))
    arrays = check(files.HEAD, found, layout)
    linear = _linear(arrays, spec)
    if spec.kind == "mean-linear":
        assert isinstance(linear, FloatLinear)  # noqa: S101  the manifest allows no other
        return MeanLinearHead(linear)
    prototypes, offset = arrays["prototypes"], arrays["offset"]
    fits = np.all(np.abs(offset) <= MAX_COMPONENT)
    check_range(files.HEAD, "offset", fits, f"at most {MAX_COMPONENT:g} in magnitude")
    reference = arrays["reference_scores"]
    if spec.kind == "protobin":
        _check_padding(prototypes, len(offset))
        return ProtobinHead(
            prototypes, offset, spec.token_bits, linear, reference, spec.n_thresholds
        )
    lengths = np.sqrt(np.einsum("md,md->m", prototypes, prototypes, dtype=np.float64))
    fits = np.all(np.abs(lengths - 1) <= LENGTH_TOLERANCE)
    check_range(files.HEAD, "prototypes", fits, f"rows of length 1, to {LENGTH_TOLERANCE:g}")
    return ProtofloatHead(prototypes, offset, linear, reference, spec.floor_at_zero)


def _n_own(arrays: Arrays, spec: HeadSpec) -> int:
    """Weights of a class in a sparse layer, as the file has them, within what is allowed."""
    weights = arrays.get("weights")
    n_columns = weights.shape[1] if weights is not None and weights.ndim == 2 else 1
    return min(max(n_columns, 1), spec.n_prototypes)


def _linear(arrays: Arrays, spec: HeadSpec) -> Linear:
    weights, bias = arrays["weights"], arrays["bias"]
    if spec.linear == "float32":
        return FloatLinear(weights, bias)
    scale = arrays["scale"]
    check_range(files.HEAD, "scale", np.all(scale > 0), "positive numbers")
    if spec.linear == "int8":
        return Int8Linear(weights, scale, bias)
    if spec.linear == "int8-grouped":
        return GroupedInt8Linear(weights, scale, bias)
    columns = arrays["columns"]
    inside = np.all((columns >= 0) & (columns < spec.n_prototypes))
    ascending = np.all(columns[:, 1:] > columns[:, :-1])
    expected = f"numbers below {spec.n_prototypes} that ascend in each row"
    check_range(files.HEAD, "columns", inside and ascending, expected)
    return SparseInt8Linear(weights, columns, scale, bias, spec.n_prototypes)


def _check_padding(prototypes: NDArray[np.uint8], n_used: int) -> None:
    if not padding_is_zero(prototypes, n_used):
        reject(
            Rejection.PROTOTYPE_PADDING,
            f"{files.HEAD}: prototypes: bits beyond the first {n_used} are not zero",
            hint=EXPORT_AGAIN,
        )


def pack_calibration(calibration: Calibration) -> bytes:
    """Content of ``calibration.safetensors``."""
    arrays: Arrays = {
        "threshold_on": calibration.threshold_on,
        "threshold_off": calibration.threshold_off,
    }
    if calibration.slope_intercept is not None:
        arrays["slope"] = calibration.slope_intercept[:, 0]
        arrays["intercept"] = calibration.slope_intercept[:, 1]
    return pack(arrays)


def parse_calibration(data: bytes, n_classes: int) -> Calibration:
    """Thresholds and calibration of a bundle.

    Raises
    ------
    RejectedBundleError
    """
    per_class = (np.float64, (n_classes,))
    required: Layout = {"threshold_on": per_class, "threshold_off": per_class}
    optional: Layout = {"slope": per_class, "intercept": per_class}
    found = unpack(files.CALIBRATION, data)
    calibrated = not found.keys().isdisjoint(optional)
    layout = required | optional if calibrated else required
    arrays = check(files.CALIBRATION, found, layout)
    if np.any(arrays["threshold_off"] > arrays["threshold_on"]):
        reject(
            Rejection.THRESHOLD_ORDER,
            f"{files.CALIBRATION}: an off-threshold lies above its on-threshold",
            hint="a detection must be able to last; fit the thresholds again",
        )
    if not calibrated:
        return Calibration(arrays["threshold_on"], arrays["threshold_off"], None)
    check_range(files.CALIBRATION, "slope", np.all(arrays["slope"] > 0), "positive numbers")
    pairs = np.stack([arrays["slope"], arrays["intercept"]], axis=1)
    return Calibration(arrays["threshold_on"], arrays["threshold_off"], pairs)


def pack_conformance(vectors: Conformance) -> bytes:
    """Content of ``conformance.safetensors``."""
    named: dict[str, NDArray[Any] | None] = {
        "audio": vectors.audio,
        "tokens": vectors.tokens,
        "digits": vectors.digits,
        "scores": vectors.scores,
        "score_chunks": vectors.score_chunks,
        "score_tokens": vectors.score_tokens,
        "logits": vectors.logits,
        "decisions": vectors.decisions,
    }
    return pack({name: array for name, array in named.items() if array is not None})


def parse_conformance(data: bytes, manifest: Manifest) -> Conformance:
    """Conformance vectors of a bundle.

    Raises
    ------
    RejectedBundleError
    """
    found = unpack(files.CONFORMANCE, data)
    audio = found.get("audio")
    n_samples = audio.size if audio is not None else 0
    n_chunks = -(-n_samples // manifest.encoder.chunk_samples)
    layout = conformance_layout(manifest, n_samples, n_chunks)
    check_names(files.CONFORMANCE, found, layout)
    if not 1 <= n_chunks <= MAX_CONFORMANCE_CHUNKS:
        reject(
            Rejection.TENSOR_SHAPE,
            f"{files.CONFORMANCE}: audio: expected 1 to {MAX_CONFORMANCE_CHUNKS} chunks, "
            f"found {n_samples} samples",
            hint=EXPORT_AGAIN,
        )
    arrays = check(files.CONFORMANCE, found, layout)
    _check_conformance_ranges(arrays, manifest, n_chunks)
    return Conformance(
        arrays["audio"],
        arrays["tokens"],
        arrays["logits"],
        arrays["decisions"],
        arrays.get("digits"),
        arrays.get("scores"),
        arrays.get("score_chunks"),
        arrays.get("score_tokens"),
    )


def conformance_layout(manifest: Manifest, n_samples: int, n_chunks: int) -> Layout:
    """Tensors that ``conformance.safetensors`` must hold."""
    grid, head = manifest.encoder.grid, manifest.head
    maps = (n_chunks, grid.n_tokens, grid.n_dims)
    layout: Layout = {
        "audio": (np.int16, (n_samples,)),
        "tokens": (np.float32, maps),
        "logits": (np.float64, (manifest.n_classes,)),
        "decisions": (np.uint8, (manifest.n_classes,)),
    }
    if isinstance(head.token_bits, int):
        layout["digits"] = (np.uint8, (*maps[:2], grid.n_dims * head.n_thresholds))
    if head.kind != "mean-linear":
        layout["scores"] = (np.float32, (head.n_prototypes,))
        layout["score_chunks"] = (np.int32, (head.n_prototypes,))
        layout["score_tokens"] = (np.int32, (head.n_prototypes,))
    return layout


def _check_conformance_ranges(arrays: Arrays, manifest: Manifest, n_chunks: int) -> None:
    bits = manifest.head.token_bits
    limits = {
        "decisions": 2,
        "digits": 256 if bits == "float" else 2**bits,
        "score_chunks": n_chunks,
        "score_tokens": manifest.encoder.grid.n_tokens,
    }
    for name, limit in limits.items():
        if name in arrays:
            fits = np.all((arrays[name] >= 0) & (arrays[name] < limit))
            check_range(files.CONFORMANCE, name, fits, f"integers from 0 to {limit - 1}")
