"""Shards: the files of the cache, one for all clips whose keys begin with the same two digits.

A shard is a safetensors file. Its bytes follow from the clips it holds, not from the order in
which they came; it is replaced as a whole, by one process at a time.
"""

import json
import logging
import mmap
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file

from edge_probe.errors import EdgeProbeError
from export.processes import allow_open_files
from export.tokens.encode import ClipTokens

_log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"
_DTYPES = {"F16": np.float16, "F32": np.float32, "U8": np.uint8}
_NONSENSE = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a header may raise that is not one."""

_Arrays = dict[str, NDArray[Any]]


class DamagedShardError(EdgeProbeError):
    """A shard that does not hold what was written."""


class Shards:
    """All shards of one encoder.

    Parameters
    ----------
    folder : Path
        Created if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        allow_open_files()
        folder.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def bucket(key: str) -> str:
        """The shard of a clip."""
        return key[:2]

    @property
    def n_bytes(self) -> int:
        """Size of all shards on disk."""
        return sum(path.stat().st_size for path in self.folder.glob(f"*{_SUFFIX}"))

    def lock(self, bucket: str) -> BaseFileLock:
        """To be held by whoever adds to a shard, or looks what it lacks in order to add that."""
        return FileLock(self.folder / f"{bucket}.lock")

    def keys(self, bucket: str) -> set[str]:
        """Keys of the clips in a shard; reads no more than its header.

        Raises
        ------
        DamagedShardError
        """
        path = self._path(bucket)
        try:
            header, _ = _header(path, _mapped(path))
        except FileNotFoundError:
            return set()
        return {name.partition(".")[0] for name in header if name != "__metadata__"}

    def read(self, bucket: str) -> dict[str, ClipTokens]:
        """Clips of a shard, checked against its checksum.

        Returns
        -------
        dict of key to ClipTokens
            Its arrays are views of the mapped file: they take no memory that is not free to be
            taken back, and show this version of the shard for as long as they live.

        Raises
        ------
        DamagedShardError
        """
        path = self._path(bucket)
        try:
            arrays = _read(path)
        except FileNotFoundError:
            return {}
        keys = dict.fromkeys(name.partition(".")[0] for name in arrays)
        return {
            key: ClipTokens(
                arrays[f"{key}.tokens"],
                arrays[f"{key}.valid"].view(np.bool_),
                arrays.get(f"{key}.cls"),
                arrays.get(f"{key}.level"),
            )
            for key in keys
        }

    def read_or_set_aside(self, bucket: str) -> dict[str, ClipTokens]:
        """Clips of a shard; a damaged one is renamed with a warning, as if it had none."""
        try:
            return self.read(bucket)
        except DamagedShardError:
            with self.lock(bucket):
                try:
                    return self.read(bucket)  # somebody else was here first
                except DamagedShardError as error:
                    path = self._path(bucket)
                    path.replace(path.with_suffix(".damaged"))
                    _log.warning("%s; its clips are encoded again", error.message)
                    return {}

    def add(self, bucket: str, fresh: Mapping[str, ClipTokens]) -> None:
        """Write a shard anew with some more clips; the caller holds its lock.

        Raises
        ------
        DamagedShardError
            What is there cannot be kept.
        """
        path = self._path(bucket)
        part = path.with_suffix(".part")
        _remove(part)  # of a process that was killed just now
        part.mkdir()  # a folder, because safetensors has temporary files of its own
        try:
            _write(part / path.name, {**self.read(bucket), **fresh})
            (part / path.name).replace(path)  # on Windows only while nobody has it mapped
        finally:
            _remove(part)

    def remove_parts(self) -> None:
        """Remove what killed processes have left half-written."""
        for part in self.folder.glob("*.part"):
            try:
                with self.lock(part.stem).acquire(timeout=0):
                    _remove(part)
            except Timeout:  # not left: it is being written
                continue

    def _path(self, bucket: str) -> Path:
        return self.folder / f"{bucket}{_SUFFIX}"


def _remove(part: Path) -> None:
    if part.exists():
        shutil.rmtree(part)


def _write(path: Path, clips: Mapping[str, ClipTokens]) -> None:
    arrays: _Arrays = {}
    for key, clip in sorted(clips.items()):
        parts: dict[str, NDArray[Any] | None] = {
            "tokens": clip.tokens, "valid": clip.valid.view(np.uint8),
            "level": clip.level, "cls": clip.cls,
        }  # fmt: skip
        for name, array in parts.items():
            if array is not None:
                arrays[f"{key}.{name}"] = array
    try:
        save_file(arrays, path, {"crc32": _checksum(arrays)})
    except SafetensorError as error:
        raise EdgeProbeError(
            f"{path}: cannot be written: {error}", hint="look at free space and permissions"
        ) from error
    with path.open("r+b") as file:
        os.fsync(file.fileno())  # no name for bytes that a power cut could still take


def _read(path: Path) -> _Arrays:
    data = _mapped(path)
    header, begin = _header(path, data)
    try:
        expected = header.pop("__metadata__")["crc32"]
        arrays = {
            name: np.frombuffer(
                data, _DTYPES[tensor["dtype"]], int(np.prod(tensor["shape"])),
                begin + tensor["data_offsets"][0],
            ).reshape(tensor["shape"])
            for name, tensor in header.items()
        }  # fmt: skip
        end = begin + max(tensor["data_offsets"][1] for tensor in header.values())
    except _NONSENSE as error:
        raise _damaged(path, "its header makes no sense") from error
    if end != len(data) or expected != _checksum(arrays):
        raise _damaged(path, "its content has changed since it was written")
    return arrays


def _mapped(path: Path) -> mmap.mmap:
    """The bytes of a file; copy on write, because torch takes no arrays that are read-only."""
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except ValueError as error:
            raise _damaged(path, "it is empty") from error


def _header(path: Path, data: mmap.mmap) -> tuple[dict[str, Any], int]:
    """The JSON header of a safetensors file, and where the tensors begin.

    safetensors' own readers copy every tensor or need torch.
    """
    begin = 8 + int.from_bytes(data[:8], "little")
    try:
        return dict(json.loads(data[8:begin])), begin
    except _NONSENSE as error:
        raise _damaged(path, "its header makes no sense") from error


def _checksum(arrays: _Arrays) -> str:
    """CRC-32 of names, types, shapes and values, in the order of names."""
    crc = 0
    for name, array in sorted(arrays.items()):
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape} ".encode(), crc)
        crc = zlib.crc32(array.data, crc)
    return f"{crc:08x}"


def _damaged(path: Path, found: str) -> DamagedShardError:
    return DamagedShardError(
        f"{path}: is damaged: {found}", hint="run it again: it is then set aside"
    )
