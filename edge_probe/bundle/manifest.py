"""The manifest: canonical JSON in, frozen facts out, and back to the same bytes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from edge_probe.bundle import files
from edge_probe.bundle.files import MAX_RELEASE, FileRecord
from edge_probe.bundle.reject import Rejection, reject, shown
from edge_probe.bundle.schema import Json, Section, check_rules
from edge_probe.bundle.sections import (
    MAX_DIMS,
    HeadSpec,
    encoder_section,
    head_section,
    read_encoder,
    read_head,
    read_windows,
    windows_section,
)
from edge_probe.spec import EncoderSpec, WindowSpec

FORMAT = "edge-probe bundle"
FORMAT_VERSIONS = (1, 2)
"""2: there is a replay."""

MAX_FILES = 64
MAX_FILE_BYTES = 2**31 - 1
MAX_ROLE_BYTES = {
    files.HEAD: 2**29,
    files.LABELS: 2**23,
    files.CALIBRATION: 2**23,
    files.CONFORMANCE: 2**26,
    files.REPLAY: 2**20,
}
MAX_GRAPH_BYTES = 2**28
MAX_CLASSES = 2**16
MAX_CLIPS = 10**9

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_SHA256 = r"[0-9a-f]{64}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that ``manifest.json`` says."""

    name: str
    created_utc: str
    """Like 2026-07-28T09:30:00Z."""
    tool: str
    """Name and version of the writer."""
    files: Mapping[str, FileRecord]
    encoder: EncoderSpec
    provenance: Mapping[str, Json]
    """Of the encoder; has at least ``name`` and ``licence``."""
    head: HeadSpec
    windows: WindowSpec
    n_classes: int
    training: Mapping[str, Json]
    """Has at least ``background_clips`` (int) and ``no_background`` (bool)."""
    token_tolerance: float
    """Largest absolute difference of a token component that `selftest` accepts."""
    release: int = 0
    """Rises with every bundle that is signed for devices; 0: not for devices."""

    def to_bytes(self) -> bytes:
        """Canonical JSON, as it is signed."""
        release = {"release": self.release} if self.release else {}
        return canonical(
            {
                "format": FORMAT,
                "format_version": 2 if files.REPLAY in self.files else 1,
                "name": self.name,
                "created_utc": self.created_utc,
                "tool": self.tool,
                "files": {
                    name: {"sha256": record.sha256, "size_bytes": record.size_bytes}
                    for name, record in self.files.items()
                },
                "encoder": encoder_section(self.encoder, self.provenance),
                "time_expansion": 1,
                "head": head_section(self.head),
                "windows": windows_section(self.windows),
                "n_classes": self.n_classes,
                "training": dict(self.training),
                "conformance": {"token_tolerance": float(self.token_tolerance)},
                **release,
            }
        )


def canonical(value: Json) -> bytes:
    """The one way to write a JSON value: sorted keys, no blanks, UTF-8, shortest floats.

    Raises
    ------
    ValueError
        NaN, an infinity, or text that UTF-8 cannot write.
    TypeError
        Not a JSON value.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def bundle_id(name: str, manifest: bytes) -> str:
    """``name@`` and the first 12 hexadecimal digits of the sha256 of the manifest's bytes."""
    return f"{name}@{hashlib.sha256(manifest).hexdigest()[:12]}"


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest whose signature is already checked.

    Parameters
    ----------
    data : bytes
        At most 1 MiB.

    Raises
    ------
    RejectedBundleError
        In this order: no JSON, no manifest, a future version, not canonical, not the schema.
    """
    value = _parse_json(data)
    _check_version(value)
    _check_canonical(value, data)
    return _read(Section("", value))


def _parse_json(data: bytes) -> Json:
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_nan
        )
    except (ValueError, RecursionError) as error:
        reject(
            Rejection.MANIFEST_JSON,
            f"manifest: not valid JSON: {shown(str(error))}",
            hint="write the bundle again with edge-export",
        )


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_nan(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _check_version(value: Json) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if not isinstance(value, dict) or value.get("format") != FORMAT or type(version) is not int:
        reject(
            Rejection.MANIFEST_FORMAT,
            f"manifest: expected format {FORMAT!r} and an integer format_version",
            hint="give the directory that edge-export wrote",
        )
    if version not in FORMAT_VERSIONS:
        newer = version > max(FORMAT_VERSIONS)
        reject(
            Rejection.MANIFEST_VERSION,
            f"manifest: version {shown(version)}, this edge-probe reads"
            f" {' and '.join(map(str, FORMAT_VERSIONS))}",
            hint="upgrade edge-probe: pip install --upgrade edge-probe"
            if newer
            else "write the bundle again with edge-export",
        )


def _check_canonical(value: Json, data: bytes) -> None:
    try:
        same = canonical(value) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        reject(
            Rejection.MANIFEST_CANONICAL,
            "manifest: not in canonical form (sorted keys, no blanks, shortest numbers)",
            hint="manifests are written by edge-export, not by hand",
        )


def _read(top: Section) -> Manifest:
    top.take("format")
    version = top.take("format_version")
    encoder, provenance = read_encoder(top.section("encoder"))
    manifest = Manifest(
        name=top.text("name", NAME),
        created_utc=top.time("created_utc"),
        tool=top.text("tool"),
        files=_read_files(top.section("files")),
        encoder=encoder,
        provenance=provenance,
        head=read_head(top.section("head")),
        windows=read_windows(top.section("windows")),
        n_classes=top.integer("n_classes", 1, MAX_CLASSES),
        training=_read_training(top.section("training")),
        token_tolerance=_read_conformance(top.section("conformance")),
        release=top.integer("release", 1, MAX_RELEASE) if "release" in top.rest() else 0,
    )
    _check_time_expansion(top.take("time_expansion"))
    top.finish()
    _check_agreement(manifest, version)
    return manifest


def _read_files(section: Section) -> dict[str, FileRecord]:
    names = section.rest()
    if len(names) > MAX_FILES:
        reject(
            Rejection.MANIFEST_RANGE,
            f"manifest: files: expected at most {MAX_FILES}, found {len(names)}",
            hint="the limits stand in edge_probe/bundle/FORMAT.md",
        )
    for name in names:
        reserved = name in (files.MANIFEST, files.SIGNATURE)
        if reserved or not files.name_is_bare(name):
            reject(
                Rejection.FILE_NAME,
                f"manifest: files: {shown(name)} is not a name that a bundle may list",
                hint="bundle files have names of A-Z a-z 0-9 . _ - and no folder",
            )
    if len({name.casefold() for name in names}) != len(names):
        reject(
            Rejection.FILE_NAME,
            "manifest: files: two names differ only in upper and lower case",
            hint="such files overwrite each other on some cards and desktops; rename one",
        )
    records = {}
    for name in names:
        record = section.section(name)
        records[name] = FileRecord(
            record.text("sha256", _SHA256),
            record.integer("size_bytes", 1, MAX_ROLE_BYTES.get(name, MAX_FILE_BYTES)),
        )
        record.finish()
    return records


def _read_training(section: Section) -> dict[str, Json]:
    known: dict[str, Json] = {
        "background_clips": section.integer("background_clips", 0, MAX_CLIPS),
        "no_background": section.boolean("no_background"),
    }
    return known | {key: section.take(key) for key in section.rest()}


def _read_conformance(section: Section) -> float:
    tolerance = section.number("token_tolerance", 0.0, 1e6)
    section.finish()
    return tolerance


def _check_time_expansion(value: Json) -> None:
    if type(value) is not int or value != 1:
        reject(
            Rejection.TIME_EXPANSION,
            f"manifest: time_expansion: this version reads only 1, found {shown(value)}",
            hint="time-expanded recordings come with a later edge-probe",
        )


def _check_agreement(manifest: Manifest, version: int) -> None:
    """Refuse values that are fine one by one and impossible together."""
    encoder, head, windows = manifest.encoder, manifest.head, manifest.windows
    graph_bytes = manifest.files[encoder.graph].size_bytes if encoder.graph in manifest.files else 0
    untrained = manifest.training["no_background"] and manifest.training["background_clips"]
    linear_probe = HeadSpec("mean-linear", "float", 0, "float32")
    check_rules([
        (
            {*files.FIXED, encoder.graph} <= manifest.files.keys(),
            "files lists head, labels, calibration, conformance and the encoder graph",
        ),
        (
            graph_bytes <= MAX_GRAPH_BYTES,
            f"the graph has at most {MAX_GRAPH_BYTES} bytes; larger weights are external data",
        ),
        (
            head.kind != "mean-linear" or head == linear_probe,
            "a mean-linear head has token_bits float, n_prototypes 0 and linear float32",
        ),
        (
            head.kind == "mean-linear" or head.n_prototypes > 0,
            f"a {head.kind} head has prototypes",
        ),
        (
            head.kind != "protofloat" or not isinstance(head.token_bits, int),
            "a protofloat head has token_bits float",
        ),
        (
            head.n_thresholds == 1 or head.token_bits == 1,
            "a head with several thresholds per dimension has token_bits 1",
        ),
        (
            head.n_thresholds * encoder.grid.n_dims <= MAX_DIMS,
            f"n_thresholds * n_dims is at most {MAX_DIMS}",
        ),
        (
            head.linear != "int8-grouped" or head.n_prototypes % manifest.n_classes == 0,
            "n_prototypes of a class-grouped head is a multiple of n_classes",
        ),
        (windows.hop_chunks <= windows.window_chunks, "hop_chunks is at most window_chunks"),
        (
            (files.REPLAY in manifest.files) == (version == 2),
            f"files lists {files.REPLAY} in version 2, and only there",
        ),
        (
            version == 1 or head.kind != "mean-linear",
            "a mean-linear head has no scores to be replayed",
        ),
        (not untrained, "no_background means that background_clips is 0"),
    ])  # fmt: skip
