"""A machine with a trust store trusts its owner's two keys, rising releases, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.owner import BACKUP, PRIMARY, RELEASE, THIEF, TRUSTED, pack
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import Rejection, open_bundle, trust, verify
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.bundle.transport import unpack_bundle
from edge_probe.bundle.trust import (
    DEVELOPMENT,
    TrustedKey,
    raise_minimum,
    read_store,
    trusted_here,
    write_store,
)
from edge_probe.cli import main
from edge_probe.errors import BundleError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine is staged."""
    path = tmp_path / "trust.json"
    write_store(path, TRUSTED)
    monkeypatch.setattr(trust, "STORE", path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle that its owner signed."""
    pack(tmp_path / "tiny.epb")
    return unpack_bundle(
        tmp_path / "tiny.epb", tmp_path / "signed", verify=verify.is_valid, trusted=TRUSTED
    ).path


def refusal(path: Path) -> Rejection:
    with pytest.raises(RejectedBundleError) as caught:
        open_bundle(path, verify=verify.is_valid)
    assert caught.value.message.isprintable()
    assert caught.value.hint
    return caught.value.reason


def test_a_desk_trusts_the_development_key_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "STORE", tmp_path / "nothing" / "trust.json")
    assert trusted_here() == (DEVELOPMENT,)
    open_bundle(GOLDEN, verify=verify.is_valid)
    assert refusal(folder) is Rejection.SIGNATURE


def test_a_staged_device_never_accepts_the_development_key(store: Path, folder: Path) -> None:
    assert trusted_here() == TRUSTED
    assert open_bundle(folder, verify=verify.is_valid).signed_by == TRUSTED[0]
    assert refusal(GOLDEN) is Rejection.SIGNATURE


def test_the_child_is_asked_about_the_keys_of_the_store(store: Path, folder: Path) -> None:
    assert open_bundle(folder).signed_by == TRUSTED[0]
    with pytest.raises(RejectedBundleError, match="E10"):
        open_bundle(GOLDEN)


def test_commands_of_a_staged_device_refuse_the_demo_bundle(
    store: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info"]) == 0
    capsys.readouterr()
    assert main(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["release"] == RELEASE
    assert main(["selftest"]) == 1
    assert "E10 signature" in capsys.readouterr().err


@pytest.mark.parametrize("minimum", [RELEASE - 1, RELEASE, RELEASE + 1])
def test_a_release_below_the_minimum_of_its_key_is_refused(
    minimum: int, store: Path, folder: Path
) -> None:
    raise_minimum(store, TRUSTED[0], minimum)
    if minimum <= RELEASE:
        open_bundle(folder, verify=verify.is_valid)
    else:
        assert refusal(folder) is Rejection.RELEASE


def test_an_owner_who_forgets_the_release_is_refused(store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "tiny"))
    manifest = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(PRIMARY.sign(b"edge-probe bundle v1\0" + manifest))
    assert refusal(folder) is Rejection.RELEASE


def test_the_minimum_only_rises_and_only_for_its_own_key(store: Path) -> None:
    raised = raise_minimum(store, TRUSTED[0], 9)
    assert raised.min_release == 9
    assert read_store(store) == (raised, TRUSTED[1])
    assert raise_minimum(store, TRUSTED[0], 6) == raised
    assert read_store(store) == (raised, TRUSTED[1])


def test_a_thief_of_one_key_cannot_lock_out_the_other(store: Path, tmp_path: Path) -> None:
    pack(tmp_path / "last.epb", release=2**31 - 1)
    last = unpack_bundle(tmp_path / "last.epb", tmp_path / "last", verify=verify.is_valid)
    raise_minimum(store, last.signed_by, last.manifest.release)
    pack(tmp_path / "next.epb", key=BACKUP, release=8)
    found = unpack_bundle(tmp_path / "next.epb", tmp_path / "next", verify=verify.is_valid)
    assert found.signed_by == TRUSTED[1]


def test_a_store_survives_a_failure_to_replace_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        raise_minimum(store, TRUSTED[0], 9)
    monkeypatch.undo()
    assert read_store(store) == TRUSTED
    assert list(store.parent.iterdir()) == [store]


def public(name: str) -> bytes:
    return {"primary": PRIMARY, "backup": BACKUP, "thief": THIEF}[name].public_key(
    ).public_bytes_raw()  # fmt: skip


WRONG_KEYS = {
    "no key": [],
    "one key": TRUSTED[:1],
    "three keys": [*TRUSTED, TrustedKey("third", public("thief"), 1)],
    "other order": TRUSTED[::-1],
    "the same twice": [TRUSTED[0], TrustedKey("backup", TRUSTED[0].public, 1)],
    "the development key": [TRUSTED[0], TrustedKey("backup", DEVELOPMENT.public, 1)],
    "release 0": [TRUSTED[0], TrustedKey("backup", TRUSTED[1].public, 0)],
    "release too high": [TRUSTED[0], TrustedKey("backup", TRUSTED[1].public, 2**31)],
    "31 bytes": [TRUSTED[0], TrustedKey("backup", TRUSTED[1].public[:31], 1)],
}


@pytest.mark.parametrize("case", WRONG_KEYS)
def test_a_store_holds_two_different_keys_of_ones_own(case: str, store: Path) -> None:
    with pytest.raises(BundleError, match="no trust store"):
        write_store(store, WRONG_KEYS[case])
    assert read_store(store) == TRUSTED


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        value = json.loads(data)
        change(value)
        return (json.dumps(value, indent=2) + "\n").encode()

    return make


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b" " * 4096,
    "not JSON": lambda data: data[1:],
    "nested": lambda data: b"[" * 4096,
    "a list": lambda data: b"[]\n",
    "other form": lambda data: json.dumps(json.loads(data)).encode(),
    "key twice": lambda data: data.replace(b'"format_version": 1', b'"format_version": 1,\n' * 2),
    "later version": edited(lambda value: value.update(format_version=2)),
    "other format": edited(lambda value: value.update(format="x")),
    "unknown key": edited(lambda value: value.update(third=value["backup"])),
    "no backup": edited(lambda value: value.pop("backup")),
    "backup null": edited(lambda value: value.update(backup=None)),
    "backup is primary": edited(lambda value: value.update(backup=value["primary"])),
    "other id": edited(lambda value: value["primary"].update(id="0" * 16)),
    "key in capitals": lambda data: data.upper(),
    "development key": lambda data: data.replace(
        TRUSTED[1].public.hex().encode(), DEVELOPMENT.public.hex().encode()
    ).replace(TRUSTED[1].id.encode(), DEVELOPMENT.id.encode()),
    "release true": edited(lambda value: value["primary"].update(min_release=True)),
    "release 1.0": edited(lambda value: value["primary"].update(min_release=1.0)),
    "release text": edited(lambda value: value["primary"].update(min_release="1")),
    "release 0": edited(lambda value: value["primary"].update(min_release=0)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_store_is_no_trust_in_anything(case: str, store: Path, folder: Path) -> None:
    store.write_bytes(DAMAGED[case](store.read_bytes()))
    assert refusal(folder) is Rejection.TRUST_STORE
    assert refusal(GOLDEN) is Rejection.TRUST_STORE


@pytest.mark.parametrize("kind", ["directory", "link to nothing"])
def test_a_store_that_cannot_be_read_is_no_trust_in_anything(kind: str, store: Path) -> None:
    store.unlink()
    if kind == "directory":
        store.mkdir()
    else:
        store.symlink_to("lost")
    assert refusal(GOLDEN) is Rejection.TRUST_STORE


def test_a_folder_that_may_not_be_searched_is_no_trust_in_anything(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(store), "lstat", forbidden)
    monkeypatch.setattr(type(store), "open", forbidden)
    with pytest.raises(RejectedBundleError) as caught:
        trusted_here()
    assert caught.value.reason is Rejection.TRUST_STORE
