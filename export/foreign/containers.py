"""Files with weights: torch checkpoints, safetensors, npz. No code of theirs is ever run."""

import argparse
import json
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from export.foreign import CheckpointError

_WEIGHTS_ALONE = (
    "where it was trained, save the weights alone: torch.save(model.state_dict(), 'weights.pt')"
)

_NESTED = ("state", "state_dict", "model", "teacher")
"""Where training code keeps the weights: BAT; Lightning; Fabric, MAE and fairseq; ASiT."""

_SAID = ("args", "cfg", "config")
"""Where it keeps what the weights were trained with: Audio-MAE and BAT, BEATs, Dasheng."""


_HARMLESS_BYTES, _SWELLING = 2**28, 8
"""What a zip file may unpack to: so much, or so many times its size."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of a file, and what it says about them."""

    path: Path
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    """Training arguments kept beside the weights; of a safetensors file its ``config.json``."""

    def array(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32.

        Raises
        ------
        CheckpointError
            It is no dense tensor of floats, its values are not all in the file, or are not finite.
        """
        tensor = self.tensors[name]
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise CheckpointError(
                f"{self.path}: {name}: expected a dense tensor of floats, found {tensor.dtype}",
                hint="take the checkpoint from before it was quantised or pruned",
            )
        n_stored = tensor.untyped_storage().nbytes() if tensor.device.type == "cpu" else 0
        if n_stored < tensor.numel() * tensor.element_size():
            raise CheckpointError(
                f"{self.path}: {name}: the file holds {n_stored} bytes of a tensor of "
                f"{' x '.join(map(str, tensor.shape))}",
                hint="save it as tensor.clone(), not as a view that repeats its values",
            )
        values: NDArray[np.float32] = tensor.detach().float().numpy()
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{self.path}: {name} holds NaN or infinite values",
                hint="the training diverged; take an earlier checkpoint",
            )
        return values


class _Inert:
    """Stands in for a Python object beside the weights: keeps nothing, does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def _plain_dict(*_: object) -> dict[Any, Any]:
    return {}


_STAND_INS: list[Any] = [
    argparse.Namespace,  # `args` of Audio-MAE and its kin; it only holds what is put into it
    (_plain_dict, "collections.defaultdict"),  # `history` of BAT
    (_Inert, "builtins.list"),  # its factory
    (_Inert, "numpy.dtype"),  # `test_metrics` of BAT
    (_Inert, "numpy.core.multiarray.scalar"),
    (_Inert, "numpy._core.multiarray.scalar"),
]
"""What torch's reader of weights may build beyond tensors, so that BAT's own files can be read.

Nothing of NumPy or collections is called: the names lead to the inert classes above.
"""


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` or ``.npz`` file or a torch checkpoint of any other name.

    Raises
    ------
    CheckpointError
        It cannot be read, holds no named tensors, or needs Python code to be read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", hint="name a file with weights")
    _refuse_bomb(path)
    facts: Mapping[str, Any] = {}
    if path.suffix == ".safetensors":
        tensors, facts = _read_safetensors(path), _config_beside(path)
    elif path.suffix == ".npz":
        tensors = _read_npz(path)
    else:
        tensors, facts = _split(path, _read_torch(path))
    return Checkpoint(path, tensors, facts)


def _refuse_bomb(path: Path) -> None:
    """Refuse a zip file that would fill the memory: NumPy and torch hardly compress."""
    try:
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return  # no zip file, or a damaged one: whoever reads it says so
    if n_bytes > max(_HARMLESS_BYTES, _SWELLING * path.stat().st_size):
        raise CheckpointError(
            f"{path}: its {path.stat().st_size / 2**20:.1f} MiB unpack to "
            f"{n_bytes / 2**30:.1f} GiB",
            hint="no weights are packed like this: do not trust where it comes from",
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors and torch share no base class
        raise CheckpointError(
            f"{path}: not a safetensors file: {error}", hint="download or copy it again"
        ) from error


def _config_beside(path: Path) -> dict[str, Any]:
    """What a Hugging Face model says in the file beside its weights; empty without one."""
    config = path.with_name("config.json")
    if not config.is_file():
        return {}
    try:
        facts = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{config}: cannot be read: {error}", hint="download it again, or remove it"
        ) from error
    return facts if isinstance(facts, dict) else {}


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except Exception as error:  # zipfile, zlib, struct and NumPy share no base class
        raise CheckpointError(
            f"{path}: not an npz file of plain numbers: {error}",
            hint="write it with numpy.savez(path, weight=..., bias=...)",
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Advice for the author of the file; that it can be read is what counts here.
            warnings.simplefilter("ignore", UserWarning)
            with safe_globals(_STAND_INS):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch share no base class
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise CheckpointError(
                f"{path}: can only be read by running {wanted[1]}; edge-probe runs no code that "
                "a checkpoint brings",
                hint=_WEIGHTS_ALONE,
            ) from error
        raise CheckpointError(
            f"{path}: not a torch checkpoint of weights ({type(error).__name__})",
            hint=f"expected a .pt, .ckpt, .safetensors, .npz or .tflite file; {_WEIGHTS_ALONE}",
        ) from error


def _split(path: Path, found: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and training arguments of what torch read."""
    facts: Any = {}
    if isinstance(found, dict):
        said = (found.get(key) for key in _SAID)
        args = next((each for each in said if isinstance(each, dict | argparse.Namespace)), {})
        facts = vars(args) if isinstance(args, argparse.Namespace) else args
        nested = next(
            (key for key in _NESTED if isinstance(found.get(key), dict | tuple | list)), ""
        )
        found = found.get(nested, found)
    if isinstance(found, tuple | list) and len(found) == 1:
        (found,) = found  # BAT writes a 1-tuple
    tensors = found if isinstance(found, dict) else {}
    tensors = {
        name: value
        for name, value in tensors.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f"{path}: expected tensors by name, found {type(found).__name__}", hint=_WEIGHTS_ALONE
        )
    return tensors, facts if isinstance(facts, dict) else {}
