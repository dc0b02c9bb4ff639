"""The protofloat head: prototypes as they were trained, 32 times the bytes of packed signs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EdgeProbeError
from edge_probe.head import gemm
from edge_probe.head.linear import Linear
from edge_probe.head.native import Matcher
from edge_probe.head.prototypes import PrototypeHead
from edge_probe.head.quantize import Digits, quantize

LENGTH_TOLERANCE = 1e-6
"""By how much the length of a prototype may differ from 1; rounding to float32 costs 6e-8."""


@dataclass(frozen=True)
class ProtofloatHead(PrototypeHead):
    """``score[m] = max_t cos(z[t] - c, p[m])``, ``logits = W score + b``; tokens are floats.

    With ``floor_at_zero`` a score is at least 0: ``max_t relu(x) = relu(max_t x)``, so that the
    similarity ``relu(cos / 1.01)`` of PPNet heads is this score with 1 / 1.01 in W.
    """

    prototypes: NDArray[np.float32]
    """(M, D), each of length 1, see `unit_length`."""
    offset: NDArray[np.float32]
    """(D,) token offset c."""
    linear: Linear
    reference_scores: NDArray[np.float32]
    """(M,) mean training score of each prototype: what counts as unremarkable."""
    floor_at_zero: bool

    kind: ClassVar[Literal["protofloat"]] = "protofloat"
    bits = "float"
    n_thresholds = 1

    def digits(self, tokens: NDArray[np.float32], valid: NDArray[np.bool_]) -> Digits:
        """Tokens of a chunk less the offset: (T, D) float32 and (T,) bool."""
        return quantize(tokens, self.offset, valid, self.bits)

    def match(self, digits: Digits) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Prototype scores (M,) of a chunk and the first token (M,) that reaches each cosine."""
        scores, tokens = gemm.max_cosines(digits, self.prototypes)
        if self.floor_at_zero:
            np.maximum(scores, 0, out=scores)
        return scores, tokens

    def matchers(self) -> Iterator[tuple[str, Matcher]]:
        """NumPy's matrix product is the only one."""
        yield gemm.NAME, self.match


def unit_length(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Prototypes as a protofloat head takes them: (M, D) float -> (M, D) float32 of length 1.

    Raises
    ------
    EdgeProbeError
        A vector has no direction: it is zero or not finite.
    """
    real = np.asarray(vectors, np.float64)
    largest = np.max(np.abs(real), axis=1, keepdims=True)
    lost = np.flatnonzero(~((largest > 0) & np.isfinite(largest)))
    if len(lost):
        raise EdgeProbeError(
            f"prototype {lost[0]}: expected finite components, not all of them zero",
            hint="leave such prototypes out; their cosine with anything is undefined",
        )
    scaled = real / largest
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (scaled / lengths).astype(np.float32)
    return unit
