"""Who checks a signature: a process that ends, so that the recorder stays light."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import Rejection, open_bundle, signature, verify
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.bundle.sign import DEVELOPMENT_SECRET, sign_with_development_key
from edge_probe.bundle.trust import DEVELOPMENT

LOADS = """
import sys
from edge_probe.bundle import open_bundle
bundle = open_bundle(sys.argv[1])
heavy = {"cryptography", "onnxruntime", "bitarray", "torch", "onnx"}
print(bundle.name, *sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_development_key_is_the_one_that_is_described() -> None:
    seed = hashlib.sha256(DEVELOPMENT_SECRET).digest()
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert public == verify.DEVELOPMENT_PUBLIC_KEY


def test_opening_a_bundle_leaves_no_heavy_library_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, GOLDEN], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["tiny"], done.stderr


def test_the_child_accepts_and_refuses() -> None:
    manifest = b"{}"
    good, key = sign_with_development_key(manifest), DEVELOPMENT.public
    assert signature.verify_in_child(signature.PREFIX + manifest, good, key)
    assert not signature.verify_in_child(signature.PREFIX + b"[]", good, key)
    assert not signature.verify_in_child(manifest, good, key)
    assert not signature.verify_in_child(signature.PREFIX + manifest, bytes(64), key)
    assert not signature.verify_in_child(signature.PREFIX + manifest, good, bytes(32))


def test_a_signature_over_the_bare_manifest_is_refused(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(DEVELOPMENT_SECRET).digest())
    with pytest.raises(RejectedBundleError) as caught:
        signature.check_signature(b"{}", key.sign(b"{}"), verify.is_valid, [DEVELOPMENT])
    assert caught.value.reason is Rejection.SIGNATURE


@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_a_signature_of_another_length_never_reaches_the_verifier(length: int) -> None:
    with pytest.raises(RejectedBundleError) as caught:
        signature.check_signature(b"{}", bytes(length), lambda *_: True, [DEVELOPMENT])
    assert caught.value.reason is Rejection.SIGNATURE


CHILDREN = {
    "cryptography is missing": "import sys; sys.stderr.write('No module named x'); sys.exit(3)",
    "it crashes": "import os; os.abort()",
    "it says nothing": "",
    "it says something else": "print('valid or so')",
}


@pytest.mark.parametrize("case", CHILDREN)
def test_a_child_that_gives_no_answer_is_no_yes(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "verify.py"
    script.write_text(CHILDREN[case], encoding="utf-8")
    monkeypatch.setattr(verify, "__file__", str(script))
    with pytest.raises(RejectedBundleError) as caught:
        open_bundle(GOLDEN)
    assert caught.value.reason is Rejection.SIGNATURE_CHECK
    assert caught.value.hint
    assert ("pip install cryptography" in caught.value.hint) == (case == "cryptography is missing")


def test_a_child_that_cannot_start_is_no_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(RejectedBundleError) as caught:
        open_bundle(GOLDEN)
    assert caught.value.reason is Rejection.SIGNATURE_CHECK


def test_a_module_in_the_working_directory_does_not_shadow_cryptography(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cryptography.py").write_text("raise SystemExit('hijacked')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # a relative one would be asked for
    assert open_bundle(GOLDEN).name == "tiny"


def test_the_child_reports_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = (
        "import runpy, sys; sys.modules['cryptography.exceptions'] = None;"
        f"runpy.run_path({verify.__file__!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", blocked], input=b"", capture_output=True)
    assert done.returncode == verify.EXIT_NO_CRYPTOGRAPHY
    assert b"cryptography" in done.stderr
