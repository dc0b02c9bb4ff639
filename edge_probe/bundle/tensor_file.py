"""Safetensors bytes with exact names, types and shapes; what differs is refused."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from edge_probe.bundle.reject import Rejection, reject, shown

Arrays = dict[str, NDArray[Any]]
Layout = dict[str, tuple[type[np.generic], tuple[int, ...]]]
"""Tensor name -> (dtype, shape)."""

EXPORT_AGAIN = "write the bundle again with edge-export"


def pack(arrays: Arrays) -> bytes:
    """Safetensors bytes: the same for the same arrays."""
    return save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})


def unpack(file: str, data: bytes) -> Arrays:
    """Every tensor of a file, none of them checked yet."""
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        reject(
            Rejection.TENSOR_FILE,
            f"{file}: not a safetensors file: {shown(str(error))}",
            hint=EXPORT_AGAIN,
        )


def check(file: str, arrays: Arrays, layout: Layout) -> Arrays:
    """Refuse what differs from the layout or is not finite; make the rest read-only."""
    check_names(file, arrays, layout)
    for name, (dtype, shape) in layout.items():
        found = arrays[name]
        if found.dtype != dtype:
            reject(
                Rejection.TENSOR_DTYPE,
                f"{file}: {name}: expected {dtype}, found {found.dtype}",
                hint=EXPORT_AGAIN,
            )
        if found.shape != shape:
            reject(
                Rejection.TENSOR_SHAPE,
                f"{file}: {name}: expected shape {list(shape)}, found {list(found.shape)}",
                hint="manifest and tensors must come from the same export",
            )
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            reject(
                Rejection.TENSOR_FINITE,
                f"{file}: {name}: holds NaN or infinite values",
                hint="the training diverged; fit again",
            )
        found.flags.writeable = False
    return arrays


def check_names(file: str, found: Arrays, layout: Layout) -> None:
    """Refuse tensors that are missing or unknown."""
    missing, unknown = layout.keys() - found.keys(), found.keys() - layout.keys()
    if missing or unknown:
        names = ", ".join([*sorted(missing), *(f"not {shown(name)}" for name in sorted(unknown))])
        reject(
            Rejection.TENSOR_NAMES,
            f"{file}: expected tensors {shown(names, 200)}",
            hint=EXPORT_AGAIN,
        )


def check_range(file: str, name: str, fits: object, expected: str) -> None:
    """Refuse a tensor whose values do not fit what is expected of them."""
    if not fits:
        reject(
            Rejection.TENSOR_RANGE,
            f"{file}: {name}: expected {expected}",
            hint=EXPORT_AGAIN,
        )
