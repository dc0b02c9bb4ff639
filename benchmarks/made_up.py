"""Heads and bundles of random numbers: cost does not ask what they mean."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, write_bundle
from edge_probe.head import (
    FloatLinear,
    GroupedInt8Linear,
    Head,
    Int8Linear,
    MeanLinearHead,
    ProtobinHead,
)
from edge_probe.head.packing import n_bytes
from edge_probe.spec import TokenBits, WindowSpec
from export.assemble import conformance_audio
from export.card import EncoderCard
from export.train.binarise import thresholds_for

WINDOWS = WindowSpec(2, 1, 0.0)


def mean_linear(n_classes: int, n_dims: int) -> MeanLinearHead:
    """A linear probe of such a size."""
    weights = np.random.default_rng(0).normal(size=(n_classes, n_dims)).astype(np.float32)
    return MeanLinearHead(FloatLinear(weights, np.zeros(n_classes)))


def protobin(
    bits: TokenBits, n_classes: int, n_prototypes: int, n_dims: int, *, grouped: bool = False
) -> ProtobinHead:
    """A protobin head of such a size, with as many thresholds as `export` would give it."""
    rng = np.random.default_rng(0)
    n_thresholds = thresholds_for(n_dims) if bits == 1 else 1
    n_digits = n_thresholds * n_dims
    packed = rng.integers(0, 256, (n_prototypes, n_bytes(n_digits)), np.uint8)
    if n_digits % 8:
        packed[:, -1] &= np.uint8(2 ** (n_digits % 8) - 1)
    bias = np.zeros(n_classes)
    scale = np.full(n_classes, 0.1)
    layer: Int8Linear | GroupedInt8Linear
    if grouped:
        layer = GroupedInt8Linear(_bytes(rng, n_classes, n_prototypes // n_classes), scale, bias)
    else:
        layer = Int8Linear(_bytes(rng, n_classes, n_prototypes), scale, bias)
    offset, usual = np.zeros(n_digits, np.float32), np.zeros(n_prototypes, np.float32)
    return ProtobinHead(packed, offset, bits, layer, usual, n_thresholds)


def bundle(card: EncoderCard, head: Head, target: Path, windows: WindowSpec = WINDOWS) -> Bundle:
    """Such a head behind a real encoder; it detects nothing."""
    never = np.full(head.n_classes, 1e9)
    return write_bundle(
        target, name="made-up", created_utc="2026-01-01T00:00:00Z", encoder=card.spec,
        graph=card.graph, external_data=card.external_data, provenance=dict(card.provenance),
        head=head, windows=windows,
        labels=[f"class {number}" for number in range(head.n_classes)], threshold_on=never,
        threshold_off=never, conformance_audio=conformance_audio(card.spec),
        training={"background_clips": 0, "no_background": True},
    )  # fmt: skip


def _bytes(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    weights: NDArray[Any] = rng.integers(-127, 128, shape, np.int8)
    return weights
