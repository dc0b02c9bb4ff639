"""Directories, signatures and labels that must be refused."""

import os
import shutil

from support import onnx_bytes as ob
from support.hostile.ways import (
    Cases,
    content,
    extra,
    graph,
    listing,
    raw_manifest,
    two_cases,
    without_file,
)

from edge_probe.bundle import Rejection

R = Rejection

CASES: Cases = {
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
}
