"""Every rule of FORMAT.md against bundles that break it and are validly signed."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
from support.hostile import folder, graph, manifest, tensors
from support.hostile.ways import Hostile, setting
from support.tiny_bundle import GOLDEN, resign

from edge_probe import bundle as bundle_package
from edge_probe.bundle import Rejection, open_bundle, verify
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.errors import BundleError

FORMAT = Path(bundle_package.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")

HOSTILE = folder.CASES | manifest.CASES | tensors.CASES | graph.CASES

ELSEWHERE = {
    Rejection.FILE_UNREADABLE,
    Rejection.SIGNATURE_CHECK,
    Rejection.RELEASE,
    Rejection.TRUST_STORE,
    Rejection.TRANSPORT,
}
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
    setting("format_version", 3)(directory)
    with pytest.raises(BundleError, match="version 3, this edge-probe reads 1 and 2") as caught:
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
