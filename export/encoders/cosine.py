"""How alike the tokens of two encoders are."""

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EncoderError
from export.tokens import ClipTokens


class CosineSums:
    """Mean and least cosine of pairs of tokens, gathered clip by clip.

    Padding does not count, nor does a token that is zero in both; one that is zero in one of them
    has the cosine 0.
    """

    def __init__(self) -> None:
        self._total, self._count, self._least = 0.0, 0, 1.0

    def add(self, old: ClipTokens, new: ClipTokens) -> None:
        """Take the tokens of one clip under both encoders.

        Raises
        ------
        EncoderError
            A token of either is NaN or infinite.
        """
        for old_map, new_map, valid in zip(old.tokens, new.tokens, old.valid, strict=True):
            if not (np.isfinite(old_map[valid]).all() and np.isfinite(new_map[valid]).all()):
                raise EncoderError(
                    "a token is NaN or infinite: there is nothing to compare",
                    hint="make that form of the encoder anew; delete its token cache",
                )
            found = cosines(old_map[valid], new_map[valid])
            if found.size:
                self._total += float(found.sum())
                self._count += found.size
                self._least = min(self._least, float(found.min()))

    @property
    def mean(self) -> float:
        """Over all pairs."""
        return self._total / max(1, self._count)

    @property
    def least(self) -> float:
        """Of all pairs."""
        return self._least


def cosines(old: NDArray[np.floating], new: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of the tokens (T, D) each with its counterpart: (at most T,) float64."""
    a, b = old.astype(np.float64), new.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    some = a.any(axis=1) | b.any(axis=1)
    products = np.einsum("td,td->t", a, b)
    found: NDArray[np.float64] = np.divide(
        products, lengths, out=np.zeros_like(products), where=lengths > 0
    )[some]
    return found
