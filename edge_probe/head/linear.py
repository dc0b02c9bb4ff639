"""The linear layer: exact with int8 weights, float64 with float32 weights."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import native

SCORE_BITS = 20
"""Scores are rounded to multiples of 2^-20 before they meet int8 weights."""

_BLOCK_WEIGHTS = 1 << 18
"""Weights held as float64 at a time: 2 MiB, however large the layer is."""


@dataclass(frozen=True, slots=True)
class Int8Linear:
    """int8 weights with one scale per class; every sum is an exact integer.

    ``S = rint(score * 2^20)``, ``L_c = sum_m W8[c, m] * S[m]``,
    ``logit_c = (scale_c * 2^-20) * L_c + bias_c`` in float64. ``|L_c| < 2^53`` for any head
    below 2^26 prototypes, so float64 products of the integer values are exact.
    """

    weights: NDArray[np.int8]
    """(C, M)"""
    scale: NDArray[np.float64]
    """(C,)"""
    bias: NDArray[np.float64]
    """(C,)"""

    kind: ClassVar[Literal["int8"]] = "int8"

    def logits(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of one window: (M,) float32 scores in [-1, 1] -> (C,) float64."""
        integers = _integers(scores)
        sums = native.linear_sums(self.weights, integers, grouped=False)
        exact = _product(self.weights, integers.astype(np.float64)) if sums is None else sums
        return _scaled(exact, self.scale, self.bias)

    def row(self, class_index: int) -> NDArray[np.float64]:
        """Real weights of one class: (M,) float64."""
        row: NDArray[np.float64] = self.weights[class_index] * self.scale[class_index]
        return row

    @classmethod
    def from_float(cls, weights: NDArray[np.floating], bias: NDArray[np.floating]) -> "Int8Linear":
        """Round each class row to 8 bits, its largest weight to ±127.

        Parameters
        ----------
        weights : (C, M) float
        bias : (C,) float
        """
        real = np.asarray(weights, np.float64)
        largest = np.max(np.abs(real), axis=1)
        scale = np.where(largest > np.finfo(np.float64).tiny * 127, largest / 127, 1.0)
        rounded = np.rint(real / scale[:, None]).astype(np.int8)
        return cls(rounded, scale, np.asarray(bias, np.float64))


@dataclass(frozen=True, slots=True)
class GroupedInt8Linear:
    """The int8 layer of a class-bound head: class c sees its own J prototypes, c J to (c + 1) J.

    The same integers as `Int8Linear` whose other weights are zero, in C J bytes instead of C² J.
    """

    weights: NDArray[np.int8]
    """(C, J)"""
    scale: NDArray[np.float64]
    """(C,)"""
    bias: NDArray[np.float64]
    """(C,)"""

    kind: ClassVar[Literal["int8-grouped"]] = "int8-grouped"

    def logits(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of one window: (C J,) float32 scores in [-1, 1] -> (C,) float64."""
        integers = _integers(scores)
        sums = native.linear_sums(self.weights, integers, grouped=True)
        if sums is None:
            own = integers.reshape(self.weights.shape)
            sums = np.einsum("cj,cj->c", self.weights.astype(np.int64), own)
        return _scaled(sums, self.scale, self.bias)

    def row(self, class_index: int) -> NDArray[np.float64]:
        """Real weights of one class on all prototypes: (C J,) float64."""
        n_own = self.weights.shape[1]
        row = np.zeros(self.weights.size)
        own = self.weights[class_index] * self.scale[class_index]
        row[class_index * n_own : (class_index + 1) * n_own] = own
        return row

    @classmethod
    def from_float(
        cls, weights: NDArray[np.floating], bias: NDArray[np.floating]
    ) -> "GroupedInt8Linear":
        """Round each class row to 8 bits, its largest weight to ±127.

        Parameters
        ----------
        weights : (C, J) float
            Of each class for its own prototypes.
        bias : (C,) float
        """
        rows = Int8Linear.from_float(weights, bias)
        return cls(rows.weights, rows.scale, rows.bias)


@dataclass(frozen=True, slots=True)
class SparseInt8Linear:
    """The int8 layer of classes that each look at k prototypes only.

    The same integers as `Int8Linear` whose other weights are zero, in 5 C k bytes instead of C M.
    """

    weights: NDArray[np.int8]
    """(C, k)"""
    columns: NDArray[np.int32]
    """(C, k) prototype that each weight is for, ascending in every row."""
    scale: NDArray[np.float64]
    """(C,)"""
    bias: NDArray[np.float64]
    """(C,)"""
    n_inputs: int
    """M."""

    kind: ClassVar[Literal["int8-sparse"]] = "int8-sparse"

    def logits(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits of one window: (M,) float32 scores in [-1, 1] -> (C,) float64."""
        integers = _integers(scores)
        parts = [
            np.einsum("cj,cj->c", self.weights[rows].astype(np.int64), integers[self.columns[rows]])
            for rows in _row_blocks(self.weights)
        ]
        return _scaled(np.concatenate(parts), self.scale, self.bias)

    def row(self, class_index: int) -> NDArray[np.float64]:
        """Real weights of one class on all prototypes: (M,) float64."""
        row = np.zeros(self.n_inputs)
        row[self.columns[class_index]] = self.weights[class_index] * self.scale[class_index]
        return row


@dataclass(frozen=True, slots=True)
class FloatLinear:
    """float32 weights, summed in float64 (tolerance ``1e-5 * sum |W * score|``)."""

    weights: NDArray[np.float32]
    """(C, M)"""
    bias: NDArray[np.float64]
    """(C,)"""

    kind: ClassVar[Literal["float32"]] = "float32"

    def logits(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits of one window: (M,) float scores -> (C,) float64."""
        return _product(self.weights, scores.astype(np.float64)) + self.bias

    def row(self, class_index: int) -> NDArray[np.float64]:
        """Weights of one class: (M,) float64."""
        row: NDArray[np.float64] = self.weights[class_index].astype(np.float64)
        return row


Linear = Int8Linear | GroupedInt8Linear | SparseInt8Linear | FloatLinear


def layer_arrays(linear: Linear) -> dict[str, NDArray[Any]]:
    """Arrays of a layer, under the names that they have in a bundle."""
    values = {field.name: getattr(linear, field.name) for field in fields(linear)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def layer_bytes(linear: Linear) -> int:
    """What a layer takes in a bundle."""
    return sum(array.nbytes for array in layer_arrays(linear).values())


def _integers(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """S: scores as multiples of 2^-20."""
    scaled: NDArray[np.float32] = scores * np.float32(2**SCORE_BITS)
    return np.rint(scaled, out=scaled).astype(np.int32)


def _scaled(
    sums: NDArray[np.int64] | NDArray[np.float64],
    scale: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Logits from exact integer sums."""
    logits: NDArray[np.float64] = (scale * 2.0**-SCORE_BITS) * sums + bias
    return logits


def _product(
    weights: NDArray[np.int8] | NDArray[np.float32], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``weights @ scores`` in float64, some rows at a time: (C, M) and (M,) -> (C,)."""
    parts = [weights[rows].astype(np.float64) @ scores for rows in _row_blocks(weights)]
    product: NDArray[np.float64] = np.concatenate(parts)
    return product


def _row_blocks(weights: NDArray[np.int8] | NDArray[np.float32]) -> Iterator[slice]:
    """Rows that may be held as float64 at the same time."""
    n_rows = max(1, _BLOCK_WEIGHTS // max(1, weights.shape[1]))
    for begin in range(0, len(weights), n_rows):
        yield slice(begin, begin + n_rows)
