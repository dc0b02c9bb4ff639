"""``edge-firmware`` keygen, trust, sign, verify, unpack, ratchet: one road, from key to device."""

import getpass
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.tiny_bundle import GOLDEN

from edge_probe.bundle.trust import key_id
from edge_probe.errors import EdgeProbeError
from firmware_tools.cli import main
from firmware_tools.keys import make_keys, read_public, read_secret


def never() -> bytes:
    raise AssertionError("no passphrase is needed")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two pairs of keys, the trust store of a device and a bundle."""
    monkeypatch.chdir(tmp_path)
    for name in ("primary", "backup"):
        assert main(["keygen", name, "--no-passphrase"]) == 0
    assert main(["trust", "primary.pub", "backup.pub", "trust.json"]) == 0
    shutil.copytree(GOLDEN, tmp_path / "tiny")
    return tmp_path


def sign(release: int, key: str = "primary.key") -> int:
    return main(["sign", "tiny", f"tiny-{release}.epb", "--key", key, "--release", str(release)])


def test_from_key_to_device(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = key_id(read_public(desk / "primary.pub"))
    capsys.readouterr()
    assert sign(7) == 0
    assert f"release 7, signed by key {identity}" in capsys.readouterr().out
    for command in (
        ["verify", "tiny-7.epb", "--trust", "trust.json"],
        ["unpack", "tiny-7.epb", "on_device", "--trust", "trust.json"],
        ["verify", "on_device", "--trust", "trust.json"],
    ):
        assert main(command) == 0
        assert f"release 7, signed by the primary key {identity}" in capsys.readouterr().out
    assert main(["verify", "tiny"]) == 0
    assert "no release, signed by the development key" in capsys.readouterr().out


def test_the_ratchet_refuses_what_is_older(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sign(6) == 0
    assert sign(7) == 0
    assert main(["unpack", "tiny-7.epb", "seven", "--trust", "trust.json"]) == 0
    assert main(["verify", "tiny-6.epb", "--trust", "trust.json"]) == 0
    assert main(["ratchet", "seven", "--trust", "trust.json"]) == 0
    assert "release 7 or later" in capsys.readouterr().out
    assert main(["verify", "tiny-6.epb", "--trust", "trust.json"]) == 1
    assert "E12 release" in capsys.readouterr().err
    assert main(["verify", "seven", "--trust", "trust.json"]) == 0
    assert sign(5, "backup.key") == 0
    assert main(["verify", "tiny-5.epb", "--trust", "trust.json"]) == 0, "a ratchet of its own"


def test_what_others_signed_is_refused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "thief", "--no-passphrase"]) == 0
    assert sign(9, "thief.key") == 0
    assert main(["unpack", "tiny-9.epb", "out", "--trust", "trust.json"]) == 1
    assert main(["verify", "tiny", "--trust", "trust.json"]) == 1
    assert capsys.readouterr().err.count("E10 signature") == 2
    assert not (desk / "out").exists()


def test_a_minimum_may_be_staged(desk: Path) -> None:
    assert main(["trust", "primary.pub", "backup.pub", "t.json", "--min-release", "8"]) == 0
    assert sign(7) == 0
    assert main(["verify", "tiny-7.epb", "--trust", "t.json"]) == 1


def test_a_secret_key_is_for_its_owner_and_never_overwritten(desk: Path) -> None:
    assert stat.S_IMODE((desk / "primary.key").stat().st_mode) == 0o600
    before = (desk / "primary.key").read_bytes(), (desk / "primary.pub").read_bytes()
    assert main(["keygen", "primary", "--no-passphrase"]) == 1
    (desk / "half.pub").write_bytes(b"another")
    assert main(["keygen", "half", "--no-passphrase"]) == 1
    assert not (desk / "half.key").exists()
    assert before == ((desk / "primary.key").read_bytes(), (desk / "primary.pub").read_bytes())


def test_a_passphrase_is_asked_for_and_must_fit(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["täglich", "täglich", "falsch", "täglich", "eins", "zwei"])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(answers))
    assert main(["keygen", "locked"]) == 0
    assert b"ENCRYPTED" in (desk / "locked.key").read_bytes()
    assert sign(8, "locked.key") == 1
    assert "passphrase does not fit" in capsys.readouterr().err
    assert not (desk / "tiny-8.epb").exists()
    assert sign(8, "locked.key") == 0
    assert main(["keygen", "other"]) == 1
    assert not (desk / "other.key").exists()


NO_KEYS = {
    "nothing": None,
    "empty": b"",
    "text": b"secret",
    "damaged": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "another curve": ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ),
}


@pytest.mark.parametrize("case", NO_KEYS)
def test_what_is_no_key_is_refused(case: str, desk: Path) -> None:
    path, data = desk / "x.key", NO_KEYS[case]
    if data is not None:
        path.write_bytes(data)
    for read in (lambda: read_secret(path, never), lambda: read_public(path)):
        with pytest.raises(EdgeProbeError) as caught:
            read()
        assert caught.value.hint


def test_the_halves_are_not_taken_for_each_other(desk: Path) -> None:
    with pytest.raises(EdgeProbeError, match="secret half"):
        read_secret(desk / "primary.pub", never)
    with pytest.raises(EdgeProbeError, match="public half"):
        read_public(desk / "primary.key")


def test_keys_are_those_of_openssl(tmp_path: Path) -> None:
    make_keys(tmp_path / "ours", None)
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    printed = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "ours.key", "-pubout"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert printed == (tmp_path / "ours.pub").read_bytes()
