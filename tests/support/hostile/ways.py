"""Ways to break a bundle; where the damage lies inside, the result is validly signed again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from support import onnx_bytes as ob
from support.tiny_bundle import (
    GOLDEN_FLOAT,
    GOLDEN_REPLAY,
    resign,
    sign_bytes,
    threshold_head,
    tiny_head,
    write_tiny_bundle,
)

from edge_probe.bundle import Rejection

Hostile = Callable[[Path], object]
"""Breaks the bundle in a directory."""

Cases = dict[Rejection, dict[str, Hostile]]
"""For each reason, what must be refused for it."""


def manifest(change: Callable[[dict[str, Any]], object]) -> Hostile:
    return lambda directory: resign(directory, change)


def setting(path: str, value: object) -> Hostile:
    """Set one dotted key of the manifest."""

    def change(found: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for parent in parents:
            found = found[parent]
        found[key] = value

    return manifest(change)


def dropping(path: str) -> Hostile:
    def change(found: dict[str, Any]) -> None:
        *parents, key = path.split(".")
        for parent in parents:
            found = found[parent]
        del found[key]

    return manifest(change)


def raw_manifest(change: Callable[[bytes], bytes]) -> Hostile:
    return lambda directory: sign_bytes(
        directory, change((directory / "manifest.json").read_bytes())
    )


def content(name: str, data: bytes) -> Hostile:
    def spoil(directory: Path) -> None:
        (directory / name).write_bytes(data)
        resign(directory)

    return spoil


def tensors(file: str, **changes: Any) -> Hostile:
    """Replace tensors; None removes one, a function changes it."""

    def spoil(directory: Path) -> None:
        arrays = load((directory / f"{file}.safetensors").read_bytes())
        for name, change in changes.items():
            if change is None:
                del arrays[name]
            else:
                arrays[name] = change(arrays[name].copy()) if callable(change) else change
        content(f"{file}.safetensors", save(arrays))(directory)

    return spoil


def grouped_but_dense(directory: Path) -> None:
    """Four prototypes, two for each class, and weights for all four."""
    four = {"prototypes": 4, "reference_scores": 4}
    arrays = load((directory / "head.safetensors").read_bytes())
    for name, n_rows in four.items():
        arrays[name] = np.resize(arrays[name], (n_rows, *arrays[name].shape[1:]))
    arrays["weights"] = np.ones((2, 4), np.int8)
    (directory / "head.safetensors").write_bytes(save(arrays))
    resign(directory, lambda found: found["head"].update(linear="int8-grouped", n_prototypes=4))


def put(index: Any, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return change


def graph(data: bytes, **data_files: bytes) -> Hostile:
    """Another graph, and files beside it that the manifest lists."""

    def spoil(directory: Path) -> None:
        (directory / "encoder.onnx").write_bytes(data)
        names = [name.replace("_", ".") for name in data_files]
        for name, stored in zip(names, data_files.values(), strict=True):
            (directory / name).write_bytes(stored)
        resign(directory, lambda found: found["files"].update(dict.fromkeys(names)))
        resign(directory)

    return spoil


def operator(name: str, domain: str = "") -> Hostile:
    return graph(ob.tiny_encoder([ob.node(name, ["x"], "z", domain)]))


def inside_scan(inner: bytes, depth: int = 1) -> bytes:
    for _ in range(depth):
        body = ob.graph([inner])
        inner = ob.node("Scan", ["x"], "z", attributes=ob.graph_attribute("body", body))
    return ob.tiny_encoder([inner])


def external(**entries: str) -> Hostile:
    tensor = ob.external_tensor("e", (1,), **entries)
    return graph(ob.tiny_encoder([], [tensor]), weights_bin=b"1234")


def without_file(name: str) -> Hostile:
    return lambda directory: (directory / name).unlink()


def extra(name: str) -> Hostile:
    return lambda directory: (directory / name).write_bytes(b"x")


def two_cases(directory: Path) -> None:
    def change(found: dict[str, Any]) -> None:
        found["files"]["LABELS.txt"] = found["files"]["labels.txt"]

    resign(directory, change)


def listing(name: str) -> Hostile:
    return manifest(
        lambda found: found["files"].update({name: {"sha256": "0" * 64, "size_bytes": 1}})
    )


def many_files(directory: Path) -> None:
    record = {"sha256": "0" * 64, "size_bytes": 1}
    resign(
        directory,
        lambda found: found["files"].update({f"f{i}": record for i in range(60)}),
    )


def mean_linear(**changes: object) -> Hostile:
    def spoil(directory: Path) -> None:
        shutil.rmtree(directory)
        write_tiny_bundle(directory, head=tiny_head(linear="mean"))
        resign(directory, lambda found: found["head"].update(changes))

    return spoil


def in_float_bundle(spoil: Hostile) -> Hostile:
    """Put the bundle with float prototypes and a sparse layer there, and break that."""

    def exchange(directory: Path) -> None:
        shutil.rmtree(directory)
        shutil.copytree(GOLDEN_FLOAT, directory)
        spoil(directory)

    return exchange


def in_replay_bundle(spoil: Hostile) -> Hostile:
    """Put the bundle with a replay there, and break that."""

    def exchange(directory: Path) -> None:
        shutil.rmtree(directory)
        shutil.copytree(GOLDEN_REPLAY, directory)
        spoil(directory)

    return exchange


def replay(**changes: Any) -> Hostile:
    return in_replay_bundle(tensors("replay", **changes))


def in_threshold_bundle(spoil: Hostile) -> Hostile:
    """Put a bundle of three thresholds per dimension there, and break that."""

    def exchange(directory: Path) -> None:
        shutil.rmtree(directory)
        write_tiny_bundle(directory, head=threshold_head())
        spoil(directory)

    return exchange


def float_head(**changes: Any) -> Hostile:
    """As `tensors`, in the head of that bundle."""
    return in_float_bundle(tensors("head", **changes))


def rewrite(**changes: object) -> Callable[[bytes], bytes]:
    """The manifest as JSON of another form."""
    return lambda data: json.dumps(json.loads(data), **({"sort_keys": True} | changes)).encode()  # type: ignore[arg-type]
