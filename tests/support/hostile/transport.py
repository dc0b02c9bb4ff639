"""Transport files that must be refused, made from a good one."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from support import onnx_bytes as ob
from support.owner import BACKUP, PRIMARY, THIEF
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import Rejection
from edge_probe.bundle.manifest import canonical
from edge_probe.bundle.sign import sign_with_development_key
from edge_probe.bundle.signature import PREFIX
from edge_probe.bundle.transport import MAGIC

R = Rejection

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the Ed25519 group."""


@dataclass(frozen=True)
class Parts:
    """A transport file in pieces."""

    manifest: bytes
    signature: bytes
    contents: list[bytes]

    @classmethod
    def of(cls, data: bytes) -> "Parts":
        n_bytes = int.from_bytes(data[8:12], "little")
        manifest, rest = data[12 : 12 + n_bytes], data[12 + n_bytes :]
        signature, rest = rest[:64], rest[64:]
        contents = []
        for _, record in sorted(json.loads(manifest)["files"].items()):
            contents.append(rest[: record["size_bytes"]])
            rest = rest[record["size_bytes"] :]
        assert not rest
        return cls(manifest, signature, contents)

    def to_bytes(self) -> bytes:
        length = len(self.manifest).to_bytes(4, "little")
        return MAGIC + length + self.manifest + self.signature + b"".join(self.contents)


Hostile = Callable[[bytes], bytes]
"""Makes a bad file of a good one."""


def parts(change: Callable[[Parts], Parts]) -> Hostile:
    return lambda good: change(Parts.of(good)).to_bytes()


def contents(change: Callable[[list[bytes]], list[bytes]]) -> Hostile:
    return parts(lambda found: replace(found, contents=change(found.contents)))


def signature(make: Callable[[bytes], bytes]) -> Hostile:
    """Another signature, made from the manifest."""
    return parts(lambda found: replace(found, signature=make(found.manifest)))


def signed(make: Callable[[dict[str, Any]], object]) -> Hostile:
    """A changed manifest that its owner signed."""

    def change(found: Parts) -> Parts:
        manifest = json.loads(found.manifest)
        make(manifest)
        return signed_bytes(canonical(manifest), found.contents)

    return parts(change)


def signed_bytes(manifest: bytes, contents: list[bytes]) -> Parts:
    return Parts(manifest, PRIMARY.sign(PREFIX + manifest), contents)


def length(value: int) -> Hostile:
    return lambda good: good[:8] + value.to_bytes(4, "little") + good[12:]


def other_scalar(good: bytes) -> bytes:
    """The second spelling of a signature (S + L), which careless verifiers accept."""
    found = Parts.of(good)
    scalar = int.from_bytes(found.signature[32:], "little") + ORDER
    spelt = found.signature[:32] + scalar.to_bytes(32, "little")
    return replace(found, signature=spelt).to_bytes()


def archive(kind: str) -> Hostile:
    """The files of the bundle in an archive of another kind."""

    def make(good: bytes) -> bytes:
        out = io.BytesIO()
        if kind == "zip":
            with zipfile.ZipFile(out, "w") as zipped:
                for path in sorted(GOLDEN.iterdir()):
                    zipped.write(path, f"../../{path.name}")
        else:
            with tarfile.open(fileobj=out, mode="w:gz") as tar:
                tar.add(GOLDEN, "/etc")
        return out.getvalue()

    return make


def listing(name: str) -> Hostile:
    """A signed manifest that lists one file more, with its content."""

    def change(found: Parts) -> Parts:
        manifest = json.loads(found.manifest)
        manifest["files"][name] = {"sha256": "0" * 64, "size_bytes": 1}
        return signed_bytes(canonical(manifest), [b"x", *found.contents])

    return parts(change)


def announcing(size_bytes: int) -> Hostile:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"]["weights.bin"] = {"sha256": "0" * 64, "size_bytes": size_bytes}

    return signed(change)


def holding(name: str, data: bytes) -> Hostile:
    """A file that its owner signed and should not have."""

    def change(found: Parts) -> Parts:
        manifest = json.loads(found.manifest)
        record = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        manifest["files"][name] = record
        held = list(found.contents)
        held[sorted(manifest["files"]).index(name)] = data
        return signed_bytes(canonical(manifest), held)

    return parts(change)


def without_release(manifest: dict[str, Any]) -> None:
    del manifest["release"]


CASES: dict[Rejection, dict[str, Hostile]] = {
    R.TRANSPORT: {
        "nothing": lambda good: b"",
        "magic only": lambda good: MAGIC,
        "cut in the magic": lambda good: good[:5],
        "cut in the length": lambda good: good[:10],
        "cut in the manifest": lambda good: good[:100],
        "cut in the signature": lambda good: good[: 12 + len(Parts.of(good).manifest) + 40],
        "cut before the files": lambda good: good[: 12 + len(Parts.of(good).manifest) + 64],
        "cut in the last file": lambda good: good[:-1],
        "line ends changed to LF": lambda good: good.replace(b"\r\n", b"\n"),
        "line ends changed to CRLF": lambda good: good.replace(b"\n", b"\r\n"),
        "a later version": lambda good: good.replace(b"EPB1", b"EPB2", 1),
        "magic in lower case": lambda good: good.replace(b"EPB1", b"epb1", 1),
        "byte order mark": lambda good: b"\xef\xbb\xbf" + good,
        "zip that climbs": archive("zip"),
        "tar with absolute paths": archive("tar"),
        "a manifest alone": lambda good: Parts.of(good).manifest,
        "length 0": length(0),
        "length one over the limit": length(2**20 + 1),
        "length of 4 GiB": length(2**32 - 1),
        "length in big endian": lambda good: good[:8] + good[8:12][::-1] + good[12:],
        "length beyond the end": length(2**20),
        "one byte more": lambda good: good + b"\0",
        "the same again": lambda good: good + good,
        "a file that nobody listed": contents(lambda found: [*found, b"x" * 5000]),
        "last file left out": contents(lambda found: found[:-1]),
        "2 GiB announced, nothing sent": announcing(2**31 - 1),
    },
    R.SIGNATURE: {
        "zeros": signature(lambda manifest: bytes(64)),
        "by the development key": signature(sign_with_development_key),
        "by a thief": signature(lambda manifest: THIEF.sign(PREFIX + manifest)),
        "over the bare manifest": signature(PRIMARY.sign),
        "over nothing": signature(lambda manifest: PRIMARY.sign(b"")),
        "for another version": signature(
            lambda manifest: PRIMARY.sign(b"edge-probe bundle v2\0" + manifest)
        ),
        "over a hash": signature(lambda manifest: PRIMARY.sign(PREFIX + manifest[:32])),
        "half of each key": signature(
            lambda manifest: (
                PRIMARY.sign(PREFIX + manifest)[:32] + BACKUP.sign(PREFIX + manifest)[32:]
            )
        ),
        "other spelling of the scalar": other_scalar,
        "point of small order": signature(lambda manifest: b"\x01" + bytes(63)),
        "manifest one byte shorter": lambda good: length(len(Parts.of(good).manifest) - 1)(good),
        "manifest one byte longer": lambda good: length(len(Parts.of(good).manifest) + 1)(good),
        "release edited": parts(
            lambda found: replace(
                found, manifest=found.manifest.replace(b'"release":7', b'"release":8')
            )
        ),
        "nested beyond reason, unsigned": lambda good: Parts(
            b"[" * 2**20, bytes(64), []
        ).to_bytes(),
    },
    R.RELEASE: {
        "one too low": signed(lambda manifest: manifest.update(release=4)),
        "lowest": signed(lambda manifest: manifest.update(release=1)),
        "none": signed(without_release),
    },
    R.FILE_HASH: {
        "one bit": contents(lambda found: [bytes([found[0][0] ^ 1]) + found[0][1:], *found[1:]]),
        "other order": contents(lambda found: found[::-1]),
        "first file twice": contents(lambda found: [found[0], *found]),
        "first file left out": contents(lambda found: found[1:]),
        "empty file in front": contents(lambda found: [b"\0", *found]),
    },
    R.FILE_NAME: {
        "a folder above": listing("../labels.txt"),
        "absolute": listing("/etc/edge-probe/trust.json"),
        "for Windows": listing("..\\labels.txt"),
        "a device": listing("C:labels.txt"),
        "a zero byte": listing("a\0b"),
        "the manifest": listing("manifest.json"),
        "the signature": listing("manifest.sig"),
        "two cases": listing("LABELS.txt"),
    },
    R.MANIFEST_JSON: {
        "nested beyond reason": parts(lambda found: signed_bytes(b"[" * 2**20, [])),
        "no UTF-8": parts(lambda found: signed_bytes(b"\xff" * 100, [])),
        "release twice": parts(
            lambda found: signed_bytes(
                found.manifest.replace(b'"release":7', b'"release":7,"release":7'), found.contents
            )
        ),
    },
    R.GRAPH_OPERATOR: {
        "an operator that is not allowed": holding(
            "encoder.onnx", ob.tiny_encoder([ob.node("Loop", ["x"], "z")])
        )
    },
    R.TENSOR_FILE: {"no tensors": holding("head.safetensors", b"\xff" * 100)},
    R.LABEL_COUNT: {"one label less": holding("labels.txt", b"background\n")},
    R.MANIFEST_RANGE: {"4 GiB announced": announcing(2**32)},
    R.MANIFEST_CANONICAL: {
        "blanks": parts(lambda found: signed_bytes(found.manifest + b" ", found.contents))
    },
    R.FILE_UNUSED: {
        "a file without a role": parts(
            lambda found: signed_bytes(
                found.manifest.replace(
                    b'"files":{',
                    b'"files":{"a.bin":{"sha256":'
                    b'"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",'
                    b'"size_bytes":1},',
                ),
                [b"x", *found.contents],
            )
        )
    },
}
