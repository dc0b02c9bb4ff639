"""What heads with prototypes share: maxima of a chunk, of a window, logits and evidence."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head.linear import Linear
from edge_probe.head.native import Matcher
from edge_probe.head.quantize import Digits
from edge_probe.spec import TokenBits


@dataclass(frozen=True, slots=True)
class PrototypeMaxima:
    """What is kept of one chunk: its M maxima and the tokens that reached them."""

    scores: NDArray[np.float32]
    """(M,)"""
    tokens: NDArray[np.int32]
    """(M,) token number inside the chunk."""


@dataclass(frozen=True, slots=True)
class WindowMaxima:
    """Prototype scores of a window and where in it they were reached."""

    scores: NDArray[np.float32]
    """(M,)"""
    chunks: NDArray[np.int32]
    """(M,) position of the chunk inside the window, the first on ties."""
    tokens: NDArray[np.int32]
    """(M,) token number inside that chunk."""


class PrototypeHead(ABC):
    """``score[m] = max_t`` of a similarity to prototype m, ``logits = W score + b``."""

    kind: ClassVar[Literal["protobin", "protofloat"]]
    prototypes: NDArray[Any]
    """M rows."""
    offset: NDArray[np.float32]
    """(R D,) token offsets c."""
    bits: TokenBits
    n_thresholds: int
    """R, offsets that every token dimension is compared with."""
    linear: Linear
    reference_scores: NDArray[np.float32]
    """(M,) mean training score of each prototype: what counts as unremarkable."""

    @property
    def n_dims(self) -> int:
        """R D, components of a prototype and of the digits of a token: what kernels see."""
        return len(self.offset)

    @property
    def n_token_dims(self) -> int:
        """D, components of a token."""
        return self.n_dims // self.n_thresholds

    @property
    def n_prototypes(self) -> int:
        """M."""
        return len(self.prototypes)

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.linear.bias)

    @abstractmethod
    def digits(self, tokens: NDArray[np.float32], valid: NDArray[np.bool_]) -> Digits:
        """Tokens of a chunk as the matchers take them: (T, D) float32 and (T,) bool."""

    @abstractmethod
    def match(self, digits: Digits) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Prototype scores (M,) of a chunk and the first token (M,) that reaches each."""

    @abstractmethod
    def matchers(self) -> Iterator[tuple[str, Matcher]]:
        """Every way in which this machine can do what `match` does, by the name of its kernel."""

    def summarise(
        self,
        tokens: NDArray[np.float32],
        valid: NDArray[np.bool_],
        match: Matcher | None = None,
    ) -> PrototypeMaxima:
        """Prototype scores of one chunk.

        Parameters
        ----------
        tokens : (T, D) float32
            Finite.
        valid : (T,) bool
            False for padding tokens: no candidates. A chunk of nothing else scores 0.
        match : Matcher, optional
            One of `matchers`; default: `match`.
        """
        match = match or self.match
        heard = np.flatnonzero(valid)
        if not 0 < len(heard) < len(valid):
            return PrototypeMaxima(*match(self.digits(tokens, valid)))
        scores, places = match(self.digits(tokens[heard], valid[heard]))
        return PrototypeMaxima(scores, heard[places].astype(np.int32))

    def merge(self, chunks: Sequence[PrototypeMaxima]) -> WindowMaxima:
        """Prototype scores of the window made of these consecutive chunks (one at least)."""
        scores, tokens = chunks[0].scores.copy(), chunks[0].tokens.copy()
        positions = np.zeros(len(scores), np.int32)
        for position, chunk in enumerate(chunks[1:], start=1):
            better = chunk.scores > scores
            np.copyto(scores, chunk.scores, where=better)
            np.copyto(tokens, chunk.tokens, where=better)
            positions[better] = position
        return WindowMaxima(scores, positions, tokens)

    def logits(self, window: WindowMaxima) -> NDArray[np.float64]:
        """(C,) float64."""
        return self.linear.logits(window.scores)

    def contributions(self, window: WindowMaxima, class_index: int) -> NDArray[np.float64]:
        """What each prototype adds to the logit of a class beyond its usual score.

        Returns
        -------
        (M,) float64
            ``W[c, m] * (score[m] - reference[m])``, in units of the logit.
        """
        difference = window.scores.astype(np.float64) - self.reference_scores
        return self.linear.row(class_index) * difference

    def evidence(self, window: WindowMaxima, class_index: int) -> list[tuple[int, int]]:
        """Tokens that explain half of what is heard that speaks for a class.

        It is here that the `strongest` of the `located` prototypes reached their maxima.

        Returns
        -------
        list of (chunk position in the window, token number in that chunk)
            Ascending, each once; empty if nothing speaks for the class.
        """
        weights = self.linear.row(class_index)
        chosen = strongest(located(self.contributions(window, class_index), weights))
        return sorted({(int(window.chunks[m]), int(window.tokens[m])) for m in chosen})


def located(
    contributions: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Contributions to a class of what is heard, and 0 for what is not.

    A prototype that speaks against a class speaks for it where its score is low; the token at which
    that is least low tells nothing about where the class is.

    Parameters
    ----------
    contributions, weights : (M,) float64
        Of `PrototypeHead.contributions`, and of the class in the linear layer.
    """
    return np.where(weights > 0, contributions, 0.0)


def strongest(contributions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Prototypes that explain half of the positive evidence, from the largest down.

    Parameters
    ----------
    contributions : (M,) float64
        Of `located`.

    Returns
    -------
    (n,) intp
        As few as can be; none if nothing speaks for the class.
    """
    order = np.argsort(-contributions, kind="stable")
    positive = np.cumsum(np.maximum(contributions[order], 0))
    if positive[-1] <= 0:
        return order[:0]
    return order[: int(np.searchsorted(positive, positive[-1] / 2)) + 1]
