"""Manifests that must be refused."""

from support.hostile.ways import (
    Cases,
    content,
    dropping,
    in_float_bundle,
    in_replay_bundle,
    manifest,
    many_files,
    mean_linear,
    raw_manifest,
    rewrite,
    setting,
)

from edge_probe.bundle import Rejection

DEEP = b'{"format":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

R = Rejection

CASES: Cases = {
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
        "future": setting("format_version", 3),
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
        "floor of a protobin head": setting("head.floor_at_zero", False),
        "thresholds of a protofloat head": in_float_bundle(setting("head.n_thresholds", 2)),
        "thresholds of a mean-linear head": mean_linear(n_thresholds=2),
        "no floor of a protofloat head": in_float_bundle(dropping("head.floor_at_zero")),
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
        "thresholds 2.0": setting("head.n_thresholds", 2.0),
        "thresholds true": setting("head.n_thresholds", True),
        "thresholds null": setting("head.n_thresholds", None),
        "floor 0": in_float_bundle(setting("head.floor_at_zero", 0)),
        "clips true": setting("training.background_clips", True),
        "release true": setting("release", True),
        "release 1.0": setting("release", 1.0),
        "release text": setting("release", "7"),
        "release null": setting("release", None),
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
        "one threshold, in so many words": setting("head.n_thresholds", 1),
        "no threshold": setting("head.n_thresholds", 0),
        "9 thresholds": setting("head.n_thresholds", 9),
        "other kind": setting("head.kind", "transformer"),
        "too many prototypes": setting("head.n_prototypes", 2**22 + 1),
        "negative clips": setting("training.background_clips", -1),
        "release 0": setting("release", 0),
        "negative release": setting("release", -1),
        "release beyond the last": setting("release", 2**31),
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
        "version 2 without a replay": setting("format_version", 2),
        "version 1 with a replay": in_replay_bundle(setting("format_version", 1)),
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
        "sparse mean-linear": mean_linear(linear="int8-sparse"),
        "two thresholds of 4 bits": manifest(
            lambda found: found["head"].update(n_thresholds=2, token_bits=4)
        ),
        "two thresholds of float tokens": manifest(
            lambda found: found["head"].update(n_thresholds=2, token_bits="float")
        ),
        "too many digits": manifest(
            lambda found: (
                found["head"].update(n_thresholds=2),
                found["encoder"].update(n_dims=2**15 + 1),
            )
        ),
        "protofloat in bits": in_float_bundle(setting("head.token_bits", 8)),
        "protofloat without prototypes": in_float_bundle(setting("head.n_prototypes", 0)),
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
}
