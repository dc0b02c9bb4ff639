"""Every rule of FORMAT.md against bundles that break it and are validly signed."""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from support import onnx_bytes as ob
from support.tiny_bundle import (
    GOLDEN,
    resign,
    sign_bytes,
    tiny_head,
    write_tiny_bundle,
)

from edge_probe import bundle as bundle_package
from edge_probe.bundle import Rejection, open_bundle, verify
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.manifest import canonical
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.errors import BundleError

R = Rejection
Hostile = Callable[[Path], object]

FORMAT = Path(bundle_package.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")


# --- ways to break a bundle and sign the result


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


def rewrite(**changes: object) -> Callable[[bytes], bytes]:
    """The manifest as JSON of another form."""
    return lambda data: json.dumps(json.loads(data), **({"sort_keys": True} | changes)).encode()  # type: ignore[arg-type]


DEEP = b'{"format":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NAN = np.float64("nan")

HOSTILE: dict[Rejection, dict[str, Hostile]] = {
    R.NOT_A_BUNDLE: {
        "no manifest": without_file("manifest.json"),
        "nothing": shutil.rmtree,
    },
    R.FILE_NAME: {
        "on disk": extra("blank name"),
        "hidden": extra(".hidden"),
        "final dot": extra("name."),
        "too long": extra("n" * 101),
        "listed with a folder": listing("../labels.txt"),
        "listed absolute": listing("/etc/passwd"),
        "listed manifest": listing("manifest.json"),
        "listed signature": listing("manifest.sig"),
        "listed twice in two cases": two_cases,
    },
    R.FILE_KIND: {
        "directory": lambda directory: (directory / "extra").mkdir(),
        "link": lambda directory: (directory / "extra").symlink_to("labels.txt"),
        "pipe": lambda directory: os.mkfifo(directory / "extra"),
    },
    R.FILE_MISSING: {
        "unsigned": without_file("manifest.sig"),
        "listed": without_file("labels.txt"),
        "listed only": listing("weights.bin"),
    },
    R.FILE_UNLISTED: {"extra": extra("weights.bin")},
    R.FILE_UNUSED: {"no tensor lies in it": graph(ob.tiny_encoder(), weights_bin=b"1234")},
    R.FILE_SIZE: {
        "manifest": raw_manifest(lambda data: data + b" " * 2**20),
        "signature": lambda directory: (directory / "manifest.sig").write_bytes(bytes(65)),
        "listed": lambda directory: (directory / "labels.txt").write_bytes(b"short\n"),
    },
    R.FILE_HASH: {
        "same size": lambda directory: (directory / "labels.txt").write_bytes(
            (directory / "labels.txt").read_bytes().upper()
        )
    },
    R.SIGNATURE: {
        "zeros": lambda directory: (directory / "manifest.sig").write_bytes(bytes(64)),
        "short": lambda directory: (directory / "manifest.sig").write_bytes(bytes(63)),
        "manifest edited": lambda directory: (directory / "manifest.json").write_bytes(
            (directory / "manifest.json").read_bytes().replace(b"tiny", b"tidy")
        ),
    },
    R.MANIFEST_JSON: {
        "empty": raw_manifest(lambda _: b""),
        "text": raw_manifest(lambda _: b"hello"),
        "UTF-16": raw_manifest(lambda data: data.decode().encode("utf-16")),
        "byte order mark": raw_manifest(lambda data: b"\xef\xbb\xbf" + data),
        "not UTF-8": raw_manifest(lambda data: data.replace(b"tiny", b"\xff\xff\xff\xff")),
        "NaN": raw_manifest(
            lambda data: data.replace(b'"refractory_s":1.0', b'"refractory_s":NaN')
        ),
        "duplicate key": raw_manifest(lambda data: b'{"format":"edge-probe bundle",' + data[1:]),
        "inner duplicate key": raw_manifest(
            lambda data: data.replace(b'"n_freq":2', b'"n_freq":2,"n_freq":2')
        ),
        "deep": raw_manifest(lambda _: DEEP),
        "huge integer": raw_manifest(
            lambda data: data.replace(b'"n_freq":2', b'"n_freq":' + b"9" * 5000)
        ),
        "cut": raw_manifest(lambda data: data[:-1]),
    },
    R.MANIFEST_FORMAT: {
        "list": raw_manifest(lambda _: b"[]"),
        "other format": setting("format", "other"),
        "no format": dropping("format"),
        "no version": dropping("format_version"),
        "version true": setting("format_version", True),
        "version 1.0": setting("format_version", 1.0),
        "version text": setting("format_version", "1"),
    },
    R.MANIFEST_VERSION: {
        "future": setting("format_version", 2),
        "future, another schema": raw_manifest(
            lambda _: b'{"format": "edge-probe bundle", "format_version": 37, "new": {}}'
        ),
        "past": setting("format_version", 0),
    },
    R.MANIFEST_CANONICAL: {
        "blanks": raw_manifest(rewrite()),
        "line feed": raw_manifest(lambda data: data + b"\n"),
        "unsorted": raw_manifest(
            lambda data: data.replace(
                b'"n_classes":2,"name":"tiny"', b'"name":"tiny","n_classes":2'
            )
        ),
        "long float": raw_manifest(lambda data: data.replace(b":8.0", b":8.00")),
        "exponent": raw_manifest(lambda data: data.replace(b":8.0", b":8e0")),
        "infinite": raw_manifest(lambda data: data.replace(b":8.0", b":8e999")),
        "escaped": raw_manifest(lambda data: data.replace(b"tiny", b"\\u0074iny")),
        "lone surrogate": raw_manifest(lambda data: data.replace(b"tiny", b"\\ud800")),
    },
    R.MANIFEST_KEYS: {
        "unknown": setting("colour", "green"),
        "unknown inside": setting("encoder.sample_rate_khz", 16),
        "unknown in a file record": manifest(
            lambda found: found["files"]["labels.txt"].update(md5="x")
        ),
        "unknown in windows": setting("windows.overlap", 1),
        "unknown in conformance": setting("conformance.extra", 1),
        **{
            f"no {key}": dropping(key)
            for key in [
                *("name", "created_utc", "tool", "files", "encoder", "head", "windows"),
                *("n_classes", "training", "conformance", "time_expansion"),
                *("encoder.graph", "encoder.provenance", "encoder.provenance.licence"),
                *("encoder.band_edges_hz", "head.kind", "windows.refractory_s"),
                *("training.no_background", "training.background_clips"),
                "conformance.token_tolerance",
            ]
        },
    },
    R.MANIFEST_TYPE: {
        "list for object": setting("encoder", []),
        "null for object": setting("windows", None),
        "number for text": setting("name", 7),
        "bool for integer": setting("n_classes", True),
        "float for integer": setting("encoder.n_dims", 4.0),
        "text for integer": setting("encoder.chunk_samples", "16"),
        "integer for bool": setting("training.no_background", 0),
        "bool for number": setting("windows.refractory_s", True),
        "text for number": setting("windows.refractory_s", "1"),
        "text for list": setting("encoder.band_edges_hz", "0 4 8"),
        "text in list": setting("encoder.band_edges_hz", [0.0, "4", 8.0]),
        "bits true": setting("head.token_bits", True),
        "bits 1.0": setting("head.token_bits", 1.0),
        "kind number": setting("head.kind", 1),
        "linear null": setting("head.linear", None),
        "clips true": setting("training.background_clips", True),
    },
    R.MANIFEST_RANGE: {
        "empty name": setting("name", ""),
        "name with a folder": setting("name", "../tiny"),
        "name with a final line feed": setting("name", "tiny\n"),
        "control character": setting("tool", "a\x1b[2Jb"),
        "long text": setting("tool", "x" * 1001),
        "no such day": setting("created_utc", "2026-02-30T00:00:00Z"),
        "local time": setting("created_utc", "2026-02-03T00:00:00+01:00"),
        "no rate": setting("encoder.sample_rate_hz", 0),
        "negative chunk": setting("encoder.chunk_samples", -16),
        "huge chunk": setting("encoder.chunk_samples", 2**24 + 1),
        "huge integer": setting("encoder.n_dims", 10**4000),
        "huge number": setting("windows.refractory_s", 10**4000),
        "negative pause": setting("windows.refractory_s", -1.0),
        "no step": setting("encoder.step_samples", 0.0),
        "negative edge": setting("encoder.band_edges_hz", [-1.0, 4.0, 8.0]),
        "bits 9": setting("head.token_bits", 9),
        "bits 0": setting("head.token_bits", 0),
        "bits double": setting("head.token_bits", "double"),
        "other kind": setting("head.kind", "transformer"),
        "too many prototypes": setting("head.n_prototypes", 2**22 + 1),
        "negative clips": setting("training.background_clips", -1),
        "negative tolerance": setting("conformance.token_tolerance", -1e-9),
        "too many files": many_files,
        "huge file": manifest(
            lambda found: found["files"].update(
                {"weights.bin": {"sha256": "0" * 64, "size_bytes": 2**31}}
            )
        ),
        "large labels": manifest(
            lambda found: found["files"]["labels.txt"].update(size_bytes=2**23 + 1)
        ),
        "empty file": content("labels.txt", b""),
        "short hash": manifest(lambda found: found["files"]["labels.txt"].update(sha256="abc")),
        "upper-case hash": manifest(
            lambda found: found["files"]["labels.txt"].update(sha256="A" * 64)
        ),
    },
    R.MANIFEST_CONTRADICTION: {
        "graph not listed": setting("encoder.graph", "other.onnx"),
        "graph is no onnx": setting("encoder.graph", "labels.txt"),
        "hop beyond window": setting("windows.hop_chunks", 3),
        "too few edges": setting("encoder.band_edges_hz", [0.0, 8.0]),
        "unsorted edges": setting("encoder.band_edges_hz", [0.0, 8.0, 4.0]),
        "equal edges": setting("encoder.band_edges_hz", [0.0, 4.0, 4.0]),
        "too many tokens": manifest(
            lambda found: found["encoder"].update(n_time=2**20, n_freq=2, band_edges_hz=None)
        ),
        "no prototypes": setting("head.n_prototypes", 0),
        "mean-linear with prototypes": setting("head.kind", "mean-linear"),
        "mean-linear in bits": mean_linear(token_bits=1),
        "mean-linear in int8": mean_linear(linear="int8"),
        "mean-linear in groups": mean_linear(linear="int8-grouped"),
        "three prototypes for two classes": setting("head.linear", "int8-grouped"),
        "background denied": setting("training.no_background", True),
        "labels not listed": manifest(lambda found: found["files"].pop("labels.txt")),
        "large graph": manifest(
            lambda found: found["files"]["encoder.onnx"].update(size_bytes=2**28 + 1)
        ),
    },
    R.TIME_EXPANSION: {
        "ten": setting("time_expansion", 10),
        "float": setting("time_expansion", 1.0),
        "true": setting("time_expansion", True),
        "null": setting("time_expansion", None),
    },
    R.TENSOR_FILE: {
        "empty header": content("head.safetensors", bytes(8)),
        "text": content("calibration.safetensors", b"not tensors"),
        "endless header": content("head.safetensors", b"\xff" * 8 + b"{}"),
        "cut": lambda directory: content(
            "conformance.safetensors", (directory / "conformance.safetensors").read_bytes()[:-1]
        )(directory),
        "trailing bytes": lambda directory: content(
            "head.safetensors", (directory / "head.safetensors").read_bytes() + b"\0"
        )(directory),
        "overlapping": content(
            "calibration.safetensors",
            (88).to_bytes(8, "little")
            + b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},'.ljust(53)
            + b'"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}'.ljust(88 - 53)
            + b"12",
        ),
        "unknown dtype": content(
            "calibration.safetensors",
            (55).to_bytes(8, "little")
            + b'{"a":{"dtype":"F1","shape":[2],"data_offsets":[0,2]}}'.ljust(55)
            + b"12",
        ),
    },
    R.TENSOR_NAMES: {
        "missing": tensors("head", bias=None),
        "unknown": tensors("head", extra=np.zeros(1)),
        "half a calibration": tensors("calibration", slope=None),
        "no threshold": tensors("calibration", threshold_off=None),
        "no audio": tensors("conformance", audio=None),
        "no digits": tensors("conformance", digits=None),
        "head of another kind": setting("head.linear", "float32"),
    },
    R.TENSOR_DTYPE: {
        "weights": tensors("head", weights=lambda a: a.astype(np.float32)),
        "bias": tensors("head", bias=lambda a: a.astype(np.float32)),
        "prototypes": tensors("head", prototypes=lambda a: a.astype(np.int8)),
        "thresholds": tensors("calibration", threshold_on=lambda a: a.astype(np.float32)),
        "audio": tensors("conformance", audio=lambda a: a.astype(np.float32)),
        "bool": tensors("conformance", decisions=lambda a: a.astype(bool)),
    },
    R.TENSOR_SHAPE: {
        "prototypes": tensors("head", prototypes=lambda a: a[:2].copy()),
        "wide prototypes": tensors("head", prototypes=lambda a: np.repeat(a, 2, 1)),
        "rank": tensors("head", bias=lambda a: a[None].copy()),
        "transposed": tensors("head", weights=lambda a: a.T.copy()),
        "dense weights in groups": grouped_but_dense,
        "other D": manifest(lambda found: found["encoder"].update(n_dims=5)),
        "thresholds": tensors("calibration", threshold_on=np.zeros(3)),
        "tokens": tensors("conformance", tokens=lambda a: a[:1].copy()),
        "no audio": tensors("conformance", audio=np.zeros(0, np.int16)),
        "audio of rank 2": tensors("conformance", audio=lambda a: a[None].copy()),
        "long audio": tensors("conformance", audio=np.zeros(16 * 64 + 1, np.int16)),
    },
    R.TENSOR_FINITE: {
        "NaN bias": tensors("head", bias=put(0, np.nan)),
        "infinite offset": tensors("head", offset=put(0, np.inf)),
        "NaN scale": tensors("head", scale=put(0, np.nan)),
        "NaN reference": tensors("head", reference_scores=put(0, np.nan)),
        "NaN threshold": tensors("calibration", threshold_on=put(0, np.nan)),
        "infinite slope": tensors("calibration", slope=put(0, np.inf)),
        "NaN token": tensors("conformance", tokens=put((0, 0, 0), np.nan)),
        "NaN logit": tensors("conformance", logits=put(0, np.nan)),
    },
    R.TENSOR_RANGE: {
        "offset": tensors("head", offset=put(0, np.float32(2e38))),
        "scale zero": tensors("head", scale=put(0, 0.0)),
        "scale negative": tensors("head", scale=put(0, -1.0)),
        "slope zero": tensors("calibration", slope=put(0, 0.0)),
        "digit 2 of 1 bit": tensors("conformance", digits=put((0, 0, 0), 2)),
        "decision 2": tensors("conformance", decisions=put(0, 2)),
        "chunk past the end": tensors("conformance", score_chunks=put(0, 2)),
        "token before the start": tensors("conformance", score_tokens=put(0, -1)),
    },
    R.PROTOTYPE_PADDING: {"bit 4 of D = 4": tensors("head", prototypes=put((0, 0), 0x10))},
    R.THRESHOLD_ORDER: {"off above on": tensors("calibration", threshold_off=put(0, 0.75))},
    R.LABEL_TEXT: {
        "not UTF-8": content("labels.txt", b"\xff\nb\n"),
        "no final line feed": content("labels.txt", b"a\nb"),
        "CRLF": content("labels.txt", b"a\r\nb\r\n"),
        "empty": content("labels.txt", b"a\n\n"),
        "no scientific name": content("labels.txt", b"_a\nb\n"),
        "no common name": content("labels.txt", b"a_\nb\n"),
        "outer blank": content("labels.txt", b"a \nb\n"),
        "control character": content("labels.txt", b"a\x1b[2J\nb\n"),
        "byte order mark": content("labels.txt", b"\xef\xbb\xbfa\nb\n"),
        "long": content("labels.txt", b"a" * 201 + b"\nb\n"),
    },
    R.LABEL_COUNT: {
        "too few": content("labels.txt", b"a\n"),
        "too many": content("labels.txt", b"a\nb\nc\n"),
    },
    R.LABEL_DUPLICATE: {"same": content("labels.txt", b"a\na\n")},
    R.GRAPH_PROTOBUF: {
        "text": content("encoder.onnx", b"<html>"),
        "no graph": content("encoder.onnx", ob.number(1, 8)),
        "cut": content("encoder.onnx", ob.tiny_encoder()[:-1]),
        "unknown field": content("encoder.onnx", ob.tiny_encoder() + ob.number(99, 1)),
        "two graphs": content("encoder.onnx", ob.tiny_encoder() + ob.blob(7, b"")),
        "two operators in a node": graph(
            ob.tiny_encoder([ob.node("Add", ["x"], "z") + ob.blob(4, "Loop")])
        ),
        "operator is no UTF-8": graph(ob.tiny_encoder([ob.blob(4, b"\xff")])),
        "endless number": content("encoder.onnx", b"\x08" + b"\xff" * 10 + b"\x01"),
        "67-bit number": content("encoder.onnx", b"\x08" + b"\xff" * 9 + b"\x7f"),
        "field 0": content("encoder.onnx", b"\x00\x01"),
        "group": content("encoder.onnx", b"\x0b\x0c"),
        "wrong wire type": content("encoder.onnx", ob.blob(1, b"8")),
        "nested too deep": graph(inside_scan(ob.node("Abs", ["x"], "z"), 9)),
    },
    R.GRAPH_FUNCTION: {
        "local function": graph(ob.tiny_encoder() + ob.blob(25, ob.blob(1, "f"))),
        "training code": graph(ob.tiny_encoder() + ob.blob(20, b"")),
    },
    R.GRAPH_DOMAIN: {
        "custom": operator("Relu", "my.domain"),
        "layout of one CPU": operator("Conv", "com.microsoft.nchwc"),
        "ai.onnx.ml": operator("SVMClassifier", "ai.onnx.ml"),
        "inside a Scan": graph(inside_scan(ob.node("Relu", ["x"], "z", "my.domain"))),
    },
    R.GRAPH_OPERATOR: {
        **{name: operator(name) for name in ("Loop", "If", "RandomNormal", "Dropout", "PyOp", "")},
        "microsoft only": operator("FusedConv"),
        "standard only": operator("Relu", "com.microsoft"),
        "inside a Scan": graph(inside_scan(ob.node("Loop", ["x"], "z"), 3)),
    },
    R.GRAPH_CPU_DEPENDENT: {
        "MatMulNBits": operator("MatMulNBits", "com.microsoft"),
        "inside a Scan": graph(inside_scan(ob.node("MatMulNBits", ["x"], "z", "com.microsoft"))),
    },
    R.GRAPH_EXTERNAL_DATA: {
        "folder above": external(location="../x"),
        "absolute": external(location="/etc/passwd"),
        "memory": external(location="*/_ORT_MEM_ADDR_/*"),
        "no location": external(offset="0"),
        "not listed": external(location="other.bin"),
        "another role": external(location="head.safetensors"),
        "the graph itself": external(location="encoder.onnx"),
        "past the end": external(location="weights.bin", offset="1", length="4"),
        "negative offset": external(location="weights.bin", offset="-1"),
        "other digits": external(location="weights.bin", offset="١"),
        "two locations": graph(
            ob.tiny_encoder(
                [],
                [
                    ob.external_tensor("e", (1,), location="weights.bin")
                    + ob.blob(13, ob.blob(1, "location") + ob.blob(2, "../x"))
                ],
            ),
            weights_bin=b"1234",
        ),
        "entries without the flag": graph(
            ob.tiny_encoder([], [ob.external_tensor("e", (1,), location="../x")[:-2]])
        ),
        "unknown place": graph(ob.tiny_encoder([], [ob.number(14, 2)])),
        "in a Constant": graph(
            ob.tiny_encoder(
                [
                    ob.node(
                        "Constant",
                        [],
                        "z",
                        attributes=ob.blob(
                            5,
                            ob.blob(1, "value")
                            + ob.blob(5, ob.external_tensor("e", (1,), location="../x")),
                        ),
                    )
                ]
            )
        ),
    },
}

ELSEWHERE = {R.FILE_UNREADABLE, R.SIGNATURE_CHECK}
"""Rejections that no content of a directory can cause; each has a test of its own."""

CASES = [
    pytest.param(reason, spoil, id=f"{reason.value}: {case}")
    for reason, cases in HOSTILE.items()
    for case, spoil in cases.items()
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "tiny"))


@pytest.mark.parametrize(("reason", "spoil"), CASES)
def test_hostile_bundle_is_refused_for_the_reason_it_deserves(
    reason: Rejection, spoil: Hostile, directory: Path
) -> None:
    spoil(directory)
    with pytest.raises(RejectedBundleError) as caught:
        open_bundle(directory, verify=verify.is_valid)
    assert caught.value.reason is reason, caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400 + len(str(directory))
    assert caught.value.hint


def test_every_rejection_is_tested_and_stands_in_the_format() -> None:
    assert {*HOSTILE, *ELSEWHERE} == set(Rejection)
    rows = re.findall(r"^\| (E\d\d) \| ([a-z-]+) \|", FORMAT, re.MULTILINE)
    assert [" ".join(row) for row in rows] == [reason.value for reason in Rejection]


def test_a_bundle_signed_again_without_a_change_opens(directory: Path) -> None:
    before = (directory / "manifest.json").read_bytes()
    resign(directory)
    assert (directory / "manifest.json").read_bytes() == before
    open_bundle(directory, verify=verify.is_valid)


def test_future_version_says_which_one(directory: Path) -> None:
    setting("format_version", 2)(directory)
    with pytest.raises(BundleError, match="version 2, this edge-probe reads 1") as caught:
        open_bundle(directory, verify=verify.is_valid)
    assert "upgrade" in str(caught.value.hint)


@pytest.mark.parametrize("call", ["open", "read", "scandir"])
def test_a_medium_that_fails_is_a_bundle_error(
    call: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(RejectedBundleError) as caught:
        open_bundle(directory, verify=verify.is_valid)
    monkeypatch.undo()
    assert caught.value.reason is Rejection.FILE_UNREADABLE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
fuzz = settings(max_examples=300, deadline=None)


def opens_or_is_refused(directory: Path) -> None:
    with contextlib.suppress(RejectedBundleError):
        open_bundle(directory, verify=verify.is_valid)


@few
@given(data=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_signed_manifest_opens_or_is_refused(data: bytes, directory: Path) -> None:
    sign_bytes(directory, data)
    opens_or_is_refused(directory)


@few
@given(data=st.data())
def test_any_value_in_a_signed_manifest_opens_or_is_refused(
    data: st.DataObject, directory: Path
) -> None:
    """Replace one value anywhere in the manifest by any other."""
    found = json.loads((GOLDEN / "manifest.json").read_bytes())
    node: Any = found
    key = data.draw(st.sampled_from(sorted(node)))
    while isinstance(node[key], dict) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node)))
    node[key] = data.draw(json_values)
    try:
        signed = canonical(found)
    except ValueError:
        return  # NaN and lone surrogates cannot be written; other tests write them by hand
    sign_bytes(directory, signed)
    opens_or_is_refused(directory)


@few
@given(
    data=st.binary(max_size=100),
    position=st.integers(0, 400),
    name=st.sampled_from(["head", "calibration", "conformance"]),
)
def test_any_tensor_file_opens_or_is_refused(
    data: bytes, position: int, name: str, directory: Path
) -> None:
    """Overwrite or insert bytes in a good file."""
    good = (GOLDEN / f"{name}.safetensors").read_bytes()
    for spoilt in (
        data,
        good[:position] + data + good[position:],
        good[:position] + data + good[position + len(data) :],
    ):
        content(f"{name}.safetensors", spoilt or b"x")(directory)
        opens_or_is_refused(directory)


@fuzz
@given(data=st.binary(max_size=60), position=st.integers(0, 170))
def test_any_graph_passes_or_is_refused(data: bytes, position: int) -> None:
    good = ob.tiny_encoder()
    for spoilt in (data, good[:position] + data + good[position + len(data) :]):
        with contextlib.suppress(RejectedBundleError):
            check_graph(spoilt, {})
