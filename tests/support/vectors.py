"""Tokens, prototypes and what NumPy makes of them, in a file for ``tests/native/check.c``."""

import struct
from pathlib import Path

import numpy as np

from edge_probe.head import reference
from edge_probe.head.packing import pack_signs
from edge_probe.head.quantize import STEP_RMS, quantize

DIMS = [*range(1, 131), 192, 256, 384, 768, 1024]
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129]


BLOCKS = [(1_024, 1_023), (1_024, 1_025), (1_024, 2_049), (4_096, 257)]
"""D and M at and around the blocks of prototypes that lut16.h keeps in the cache."""


def write_vectors(path: Path) -> int:
    """Write every width at every D, with sizes at and around the kernels' blocks; the count."""
    rng = np.random.default_rng(0)
    n_written = 0
    sizes = [(n_dims, 0) for n_dims in DIMS] + BLOCKS
    with path.open("wb") as file:
        for n_dims, n_many in sizes:
            for bits in range(1, 9):
                n_tokens, n_few = (int(rng.choice(SIZES)) for _ in range(2))
                n_tokens, n_prototypes = min(n_tokens, 3 if n_many else 17), n_many or n_few
                loudness = rng.choice([1e-42, 1e-20, 1, 1e20, 1e37], (n_tokens, 1))
                tokens = (rng.normal(size=(n_tokens, n_dims)) * loudness).astype(np.float32)
                tokens[rng.random(n_tokens) < 0.1] = 0
                offset = (rng.normal(size=n_dims) * rng.integers(0, 2)).astype(np.float32)
                valid = rng.random(n_tokens) > 0.1
                packed = pack_signs(rng.normal(size=(n_prototypes, n_dims)))
                digits = quantize(tokens, offset, valid, bits)  # type: ignore[arg-type]
                scores, where = reference.max_scores(digits, packed)
                file.write(
                    struct.pack(
                        "<4qd", n_tokens, n_dims, n_prototypes, bits, STEP_RMS.get(bits, 0.0)
                    )
                )
                parts = (
                    tokens, offset, valid.astype(np.uint8), packed, digits.values, digits.scale,
                    scores, where,
                )  # fmt: skip
                for part in parts:
                    file.write(part.tobytes())
                n_written += 1
    return n_written
