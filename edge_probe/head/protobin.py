"""The protobin head: binary prototypes against every token, maximum, one linear layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import backends
from edge_probe.head.linear import Linear
from edge_probe.head.native import Matcher
from edge_probe.head.prototypes import PrototypeHead
from edge_probe.head.quantize import Digits
from edge_probe.spec import TokenBits


@dataclass(frozen=True)
class ProtobinHead(PrototypeHead):
    """``score[m] = max_t cos(q_B(z[t] - c), p[m])``, ``logits = W score + b``.

    With R thresholds per dimension the digits of a token are those of ``z - c[0]``, then those of
    ``z - c[1]``, and so on: a token of R D components for everything behind `digits`.
    """

    prototypes: NDArray[np.uint8]
    """(M, ceil(R D / 8)) packed signs, see `edge_probe.head.packing`."""
    offset: NDArray[np.float32]
    """(R D,) token offsets c[0], c[1], ... one after the other."""
    bits: TokenBits
    linear: Linear
    reference_scores: NDArray[np.float32]
    """(M,) mean training score of each prototype: what counts as unremarkable."""
    n_thresholds: int = 1
    """R, thresholds per token dimension; above 1 only with 1-bit tokens."""

    kind: ClassVar[Literal["protobin"]] = "protobin"

    @cached_property
    def backend(self) -> backends.Backend:
        """The kernel in use; every kernel gives the same bits."""
        return backends.choose(self.bits, self.n_dims, self.n_prototypes, 128)

    @cached_property
    def match(self) -> Matcher:
        """The prototypes in the kernel's own order, ready for digits."""
        return self.backend.prepare(self.prototypes, self.n_dims)

    def matchers(self) -> Iterator[tuple[str, Matcher]]:
        """Every kernel of this machine, prepared when its turn comes."""
        for backend in backends.available(self.bits, self.n_dims):
            yield backend.name, backend.prepare(self.prototypes, self.n_dims)

    def digits(self, tokens: NDArray[np.float32], valid: NDArray[np.bool_]) -> Digits:
        """Tokens of a chunk as R D digits each: (T, D) float32 and (T,) bool."""
        shape = (len(tokens), self.n_thresholds, tokens.shape[1])
        tiled = np.broadcast_to(tokens[:, None], shape).reshape(len(tokens), self.n_dims)
        return self.backend.quantize(tiled, self.offset, valid, self.bits)
