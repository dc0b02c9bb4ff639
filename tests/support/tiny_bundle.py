"""The smallest bundle that has everything: 4 dimensions, 2 classes, 3 prototypes, 3.5 KiB.

``python tests/support/tiny_bundle.py`` (with the checkout on PYTHONPATH) writes the golden ones.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_probe.bundle import Bundle, verify, write_bundle
from edge_probe.bundle.manifest import canonical
from edge_probe.bundle.replay import Replay
from edge_probe.bundle.sign import sign_with_development_key
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
from edge_probe.head.linear import Linear
from edge_probe.head.packing import pack_signs
from edge_probe.spec import EncoderSpec, TokenBits, TokenGrid, WindowSpec

from .onnx_bytes import tiny_encoder

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_bundle"
GOLDEN_FLOAT = GOLDEN.with_name("tiny_float_bundle")
"""Float prototypes and a sparse linear layer, with numbers that no order of sums can change."""

GOLDEN_REPLAY = GOLDEN.with_name("tiny_replay_bundle")
"""With scores of training clips and of noise."""

ENCODER = EncoderSpec(
    graph="encoder.onnx",
    input_name="x",
    output_name="y",
    sample_rate_hz=16,
    chunk_samples=16,
    grid=TokenGrid(
        n_dims=4,
        n_time=2,
        n_freq=2,
        start_samples=0.0,
        step_samples=8.0,
        band_edges_hz=(0.0, 4.0, 8.0),
    ),
)

AUDIO = (np.arange(16 + 8) * 7919 % 65536 - 32768).astype(np.int16)
"""A chunk and a half, so that padding is part of what is tested."""


def tiny_head(bits: TokenBits = 1, linear: str = "int8", kind: str = "protobin") -> Head:
    """A head whose numbers were drawn once and are written out."""
    weights = np.array([[1.0, -0.5, 0.25], [-1.0, 0.75, 0.5]])
    bias = np.array([0.125, -0.25])
    if linear == "mean":
        real = np.array([[1, -1, 0.5, 2], [0, 1, -2, 0.25]], np.float32)
        return MeanLinearHead(FloatLinear(real, bias))
    signs = np.array([[1, 1, -1, -1], [-1, 1, 1, -1], [1, -1, 1, 1]])
    offset, reference = np.array([0.0, 0.25, -0.5, 0.0], np.float32), np.array([0.5, 0.25, 0.0])
    layer: Linear = FloatLinear(weights.astype(np.float32), bias)
    if linear == "int8":
        layer = Int8Linear.from_float(weights, bias)
    elif linear == "int8-grouped":  # two prototypes a class
        signs, reference = np.concatenate([signs, -signs[:1]]), np.array([0.5, 0.25, 0.0, 0.125])
        own = Int8Linear.from_float(weights[:, 1:], bias)
        layer = GroupedInt8Linear(own.weights, own.scale, own.bias)
    elif linear == "int8-sparse":  # two prototypes a class, of any place
        columns = np.array([[0, 2], [0, 1]], np.int32)
        own = Int8Linear.from_float(np.take_along_axis(weights, columns, axis=1), bias)
        layer = SparseInt8Linear(own.weights, columns, own.scale, own.bias, len(signs))
    means = reference.astype(np.float32)
    if kind == "protofloat":
        unit = signs.astype(np.float32) * np.float32(0.5)
        unit[1] = [0, 0, 1, 0]
        return ProtofloatHead(unit, offset, layer, means, floor_at_zero=True)
    return ProtobinHead(pack_signs(signs), offset, bits, layer, means)


def threshold_head(n_thresholds: int = 3) -> ProtobinHead:
    """The tiny head with other prototypes and several thresholds for each of its 4 dimensions."""
    signs = np.random.default_rng(n_thresholds).choice([-1, 1], (3, 4 * n_thresholds))
    offset = np.linspace(-0.5, 0.5, signs.shape[1], dtype=np.float32)
    weights = np.array([[1.0, -0.5, 0.25], [-1.0, 0.75, 0.5]])
    linear = Int8Linear.from_float(weights, np.array([0.125, -0.25]))
    means = np.array([0.5, 0.25, 0.0], np.float32)
    return ProtobinHead(pack_signs(signs), offset, 1, linear, means, n_thresholds)


FLOAT: dict[str, Any] = {
    "name": "tiny-float",
    "head": tiny_head("float", "int8-sparse", "protofloat"),
}
"""What is different about the second golden bundle."""


REPLAY: dict[str, Any] = {
    "name": "tiny-replay",
    "replay": Replay(
        scores=np.array([[4, -2, 0], [0, 2, 4], [-4, 0, 2]], np.int16),
        targets=np.array([[1, 0], [0, 1], [0, -1]], np.int8),
        groups=np.array([0, 1, 1], np.int32),
        noise=np.array([[0, 0, 0], [2, -2, 0], [0, 2, 2]], np.int16),
        noise_runs=np.array([0, 0, 1], np.int32),
    ),
}
"""What is different about the third."""


def write_tiny_bundle(directory: Path, **changes: Any) -> Bundle:
    """Write the tiny bundle; any argument of `write_bundle` may be replaced."""
    graph = directory.parent / "tiny.onnx"
    if "graph" not in changes:
        graph.write_bytes(tiny_encoder())
    arguments: dict[str, Any] = {
        "name": "tiny",
        "created_utc": "2026-01-02T03:04:05Z",
        "encoder": ENCODER,
        "graph": graph,
        "provenance": {"name": "reshape", "licence": "Apache-2.0"},
        "head": tiny_head(),
        "windows": WindowSpec(window_chunks=2, hop_chunks=1, refractory_s=1.0),
        "labels": ["Parus major_Great Tit", "background"],
        "threshold_on": [0.5, 1.0],
        "threshold_off": [0.0, 1.0],
        "calibration": [[1.0, 0.0], [2.0, -0.5]],
        "conformance_audio": AUDIO,
        "training": {"background_clips": 3, "no_background": False},
        "tool": "edge-probe 0.1.0",
        "verify": verify.is_valid,
    }
    return write_bundle(directory, **(arguments | changes))


def resign(directory: Path, change: Callable[[dict[str, Any]], object] | None = None) -> None:
    """Describe the files as they are now, change the manifest, and sign it validly."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for name in manifest["files"]:
        if (directory / name).is_file():
            data = (directory / name).read_bytes()
            record = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            manifest["files"][name] = record
    if change is not None:
        change(manifest)
    sign_bytes(directory, canonical(manifest))


def sign_bytes(directory: Path, manifest: bytes) -> None:
    """Put any bytes in place of the manifest, validly signed."""
    (directory / "manifest.json").write_bytes(manifest)
    (directory / "manifest.sig").write_bytes(sign_with_development_key(manifest))


def main() -> None:
    """Write the golden bundles anew; only for a change of the format."""
    for directory, changes in ((GOLDEN, {}), (GOLDEN_FLOAT, FLOAT), (GOLDEN_REPLAY, REPLAY)):
        shutil.rmtree(directory, ignore_errors=True)
        print(write_tiny_bundle(directory, **changes).id)
    (GOLDEN.parent / "tiny.onnx").unlink()


if __name__ == "__main__":
    main()
