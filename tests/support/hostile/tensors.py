"""Tensors that must be refused."""

import numpy as np
from support.hostile.ways import (
    Cases,
    content,
    float_head,
    grouped_but_dense,
    in_threshold_bundle,
    manifest,
    put,
    replay,
    setting,
    tensors,
)

from edge_probe.bundle import Rejection

R = Rejection

CASES: Cases = {
    R.TENSOR_FILE: {
        "empty header": content("head.safetensors", bytes(8)),
        "text": content("calibration.safetensors", b"not tensors"),
        "endless header": content("head.safetensors", b"\xff" * 8 + b"{}"),
        "cut": lambda directory: content(
            "conformance.safetensors", (directory / "conformance.safetensors").read_bytes()[:-1]
        )(directory),
        "trailing bytes": lambda directory: content(
            "head.safetensors", (directory / "head.safetensors").read_bytes() + b"\0"
        )(directory),
        "overlapping": content(
            "calibration.safetensors",
            (88).to_bytes(8, "little")
            + b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'.ljust(53)
            + b'"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}'.ljust(88 - 53)
            + b"12",
        ),
        "unknown dtype": content(
            "calibration.safetensors",
            (55).to_bytes(8, "little")
            + b'{"a":{"dtype":"F1","shape":[2],"data_offsets":[0,2]}}'.ljust(55)
            + b"12",
        ),
    },
    R.TENSOR_NAMES: {
        "missing": tensors("head", bias=None),
        "unknown": tensors("head", extra=np.zeros(1)),
        "no targets": replay(targets=None),
        "no groups": replay(groups=None),
        "half a calibration": tensors("calibration", slope=None),
        "no threshold": tensors("calibration", threshold_off=None),
        "no audio": tensors("conformance", audio=None),
        "no digits": tensors("conformance", digits=None),
        "head of another kind": setting("head.linear", "float32"),
        "sparse without columns": float_head(columns=None),
        "sparse without weights": float_head(weights=None),
        "dense with columns": tensors("head", columns=np.zeros((2, 3), np.int32)),
    },
    R.TENSOR_DTYPE: {
        "weights": tensors("head", weights=lambda a: a.astype(np.float32)),
        "bias": tensors("head", bias=lambda a: a.astype(np.float32)),
        "prototypes": tensors("head", prototypes=lambda a: a.astype(np.int8)),
        "thresholds": tensors("calibration", threshold_on=lambda a: a.astype(np.float32)),
        "audio": tensors("conformance", audio=lambda a: a.astype(np.float32)),
        "bool": tensors("conformance", decisions=lambda a: a.astype(bool)),
        "columns": float_head(columns=lambda a: a.astype(np.uint32)),
        "replayed scores": replay(scores=lambda a: a.astype(np.float32)),
        "packed prototypes": float_head(prototypes=np.zeros((3, 1), np.uint8)),
    },
    R.TENSOR_SHAPE: {
        "prototypes": tensors("head", prototypes=lambda a: a[:2].copy()),
        "wide prototypes": tensors("head", prototypes=lambda a: np.repeat(a, 2, 1)),
        "rank": tensors("head", bias=lambda a: a[None].copy()),
        "transposed": tensors("head", weights=lambda a: a.T.copy()),
        "dense weights in groups": grouped_but_dense,
        "sparse of rank 1": float_head(weights=np.ones(2, np.int8)),
        "sparse with no columns": float_head(
            weights=np.ones((2, 0), np.int8), columns=np.ones((2, 0), np.int32)
        ),
        "sparse with more columns than prototypes": float_head(
            weights=np.ones((2, 4), np.int8), columns=np.tile(np.arange(4, dtype=np.int32), (2, 1))
        ),
        "fewer columns than weights": float_head(columns=lambda a: a[:, :1].copy()),
        "narrow float prototypes": float_head(prototypes=lambda a: a[:, :3].copy()),
        "one threshold of two": setting("head.n_thresholds", 2),
        "wide offset": tensors("head", offset=lambda a: np.tile(a, 2)),
        "digits of one threshold": in_threshold_bundle(
            tensors("conformance", digits=lambda a: a[..., :4].copy())
        ),
        "prototypes of one threshold": in_threshold_bundle(
            tensors("head", prototypes=lambda a: a[:, :1].copy())
        ),
        "other D": manifest(lambda found: found["encoder"].update(n_dims=5)),
        "thresholds": tensors("calibration", threshold_on=np.zeros(3)),
        "tokens": tensors("conformance", tokens=lambda a: a[:1].copy()),
        "no audio": tensors("conformance", audio=np.zeros(0, np.int16)),
        "audio of rank 2": tensors("conformance", audio=lambda a: a[None].copy()),
        "no clip": replay(
            scores=np.zeros((0, 3), np.int16),
            targets=np.zeros((0, 2), np.int8),
            groups=np.zeros(0, np.int32),
        ),
        "scores of other prototypes": replay(scores=lambda a: a[:, :2].copy()),
        "targets of other classes": replay(targets=lambda a: a[:, :1].copy()),
        "noise without runs": replay(noise_runs=lambda a: a[:1].copy()),
        "groups of rank 0": replay(groups=np.zeros((), np.int32)),
        "long audio": tensors("conformance", audio=np.zeros(16 * 64 + 1, np.int16)),
    },
    R.TENSOR_FINITE: {
        "NaN bias": tensors("head", bias=put(0, np.nan)),
        "infinite offset": tensors("head", offset=put(0, np.inf)),
        "NaN scale": tensors("head", scale=put(0, np.nan)),
        "NaN reference": tensors("head", reference_scores=put(0, np.nan)),
        "NaN prototype": float_head(prototypes=put((0, 0), np.nan)),
        "NaN threshold": tensors("calibration", threshold_on=put(0, np.nan)),
        "infinite slope": tensors("calibration", slope=put(0, np.inf)),
        "NaN token": tensors("conformance", tokens=put((0, 0, 0), np.nan)),
        "NaN logit": tensors("conformance", logits=put(0, np.nan)),
    },
    R.TENSOR_RANGE: {
        "offset": tensors("head", offset=put(0, np.float32(2e38))),
        "scale zero": tensors("head", scale=put(0, 0.0)),
        "scale zero, sparse": float_head(scale=put(0, 0.0)),
        "column before the first prototype": float_head(columns=put((0, 0), -1)),
        "column past the last prototype": float_head(columns=put((0, 1), 3)),
        "columns descend": float_head(columns=put(1, [1, 0])),
        "a column twice": float_head(columns=put(1, [1, 1])),
        "long prototype": float_head(prototypes=put((1, 2), 1 + 2e-6)),
        "zero prototype": float_head(prototypes=put(0, 0)),
        "scale negative": tensors("head", scale=put(0, -1.0)),
        "slope zero": tensors("calibration", slope=put(0, 0.0)),
        "digit 2 of 1 bit": tensors("conformance", digits=put((0, 0, 0), 2)),
        "decision 2": tensors("conformance", decisions=put(0, 2)),
        "chunk past the end": tensors("conformance", score_chunks=put(0, 2)),
        "score beyond 1": replay(scores=put((0, 0), 5)),
        "score beyond -1": replay(noise=put((0, 0), -5)),
        "target 2": replay(targets=put((0, 0), 2)),
        "group -1": replay(groups=put(0, -1)),
        "runs from 1": replay(noise_runs=lambda a: a + np.int32(1)),
        "runs with a hole": replay(noise_runs=put(-1, 5)),
        "token before the start": tensors("conformance", score_tokens=put(0, -1)),
    },
    R.PROTOTYPE_PADDING: {
        "bit 4 of D = 4": tensors("head", prototypes=put((0, 0), 0x10)),
        "bit 12 of D = 4, R = 3": in_threshold_bundle(
            tensors("head", prototypes=put((0, 1), 0x10))
        ),
    },
    R.THRESHOLD_ORDER: {"off above on": tensors("calibration", threshold_off=put(0, 0.75))},
}
