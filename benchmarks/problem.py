"""One made-up head and one made-up chunk: what ours and a peer are both given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import reference
from edge_probe.head.packing import pack_signs, unpack_signs
from edge_probe.head.quantize import Digits, quantize
from edge_probe.spec import TokenBits

_BLOCK = 4096
"""Prototypes given to the reference at a time: it holds float64 copies."""


class Size(NamedTuple):
    """M prototypes against T tokens of D components."""

    n_prototypes: int
    n_tokens: int
    n_dims: int

    @property
    def n_macs(self) -> int:
        """Multiplications of one chunk, without any padding."""
        return self.n_prototypes * self.n_tokens * self.n_dims

    def __str__(self) -> str:
        return f"M={self.n_prototypes} T={self.n_tokens} D={self.n_dims}"


@dataclass(frozen=True)
class Problem:
    """Random prototypes and normally distributed tokens, the same in every process."""

    size: Size

    @cached_property
    def packed(self) -> NDArray[np.uint8]:
        """(M, D/8) packed signs; D is a multiple of 8 here, so there is no padding."""
        shape = (self.size.n_prototypes, self.size.n_dims // 8)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    @cached_property
    def tokens(self) -> NDArray[np.float32]:
        """(T, D) float32, as an encoder gives them."""
        shape = (self.size.n_tokens, self.size.n_dims)
        return np.random.default_rng(1).standard_normal(shape, np.float32)

    def digits(self, bits: TokenBits, by: Callable[..., Digits] = quantize) -> Digits:
        """The tokens as digits of this quantiser; offset zero, every token valid."""
        offset = np.zeros(self.size.n_dims, np.float32)
        return by(self.tokens, offset, np.ones(self.size.n_tokens, bool), bits)

    @property
    def unit_tokens(self) -> NDArray[np.float32]:
        """(T, D) float32 tokens whose product with a prototype is the cosine itself."""
        digits = self.digits("float")
        return digits.values.astype(np.float32) * digits.scale[:, None]

    @property
    def packed_tokens(self) -> NDArray[np.uint8]:
        """(T, D/8) signs of the tokens, packed like the prototypes."""
        return pack_signs(self.tokens)

    @property
    def signs(self) -> NDArray[np.int8]:
        """(M, D) prototypes as ±1."""
        return unpack_signs(self.packed, self.size.n_dims)

    def expected(self, bits: TokenBits) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """What the reference makes of it: (M,) scores and (M,) tokens."""
        digits = self.digits(bits)
        parts = [
            reference.max_scores(digits, self.packed[begin : begin + _BLOCK])
            for begin in range(0, len(self.packed), _BLOCK)
        ]
        scores, tokens = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(tokens)
