"""What a peer is once it holds its weights and tokens: a call and how to read its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_scores(result: NDArray[Any]) -> NDArray[np.float32]:
    """A result that holds the prototype scores already, in any shape: (M,) float32."""
    return np.asarray(result, np.float32).reshape(-1)


@dataclass(frozen=True)
class Prepared:
    """A peer with its weights and tokens in place."""

    call: Callable[[], Any]
    """What is timed."""
    scores: Callable[[Any], NDArray[np.float32]]
    """Result of the call -> (M,) prototype scores; not timed."""
    weight_bytes: int
    """Bytes of weights it holds, its internal copies not counted."""
    tokens: Callable[[Any], NDArray[np.int64]] | None = None
    """Result of the call -> (M,) nearest tokens, where it tells them."""
