"""Any byte flipped, any file cut, missing or extra: BundleError, and nothing is loaded."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny_bundle import write_tiny_bundle

from edge_probe.bundle import open_bundle, reader, verify
from edge_probe.errors import BundleError

FILES = (
    "calibration.safetensors",
    "conformance.safetensors",
    "encoder.onnx",
    "head.safetensors",
    "labels.txt",
    "manifest.json",
    "manifest.sig",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


@pytest.fixture
def no_parsing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Notes every attempt to read the content of a file other than manifest and signature."""
    attempts: list[str] = []
    for name in ("parse_head", "parse_calibration", "parse_conformance", "parse_labels"):
        monkeypatch.setattr(reader, name, lambda *_, name=name: attempts.append(name))
    monkeypatch.setattr(reader, "check_graph", lambda *_: attempts.append("check_graph"))
    yield attempts
    assert attempts == []


def assert_refused(directory: Path) -> None:
    with pytest.raises(BundleError) as caught:
        open_bundle(directory, verify=verify.is_valid)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_the_bundle_is_small_and_opens(whole: Path) -> None:
    assert sorted(entry.name for entry in whole.iterdir()) == sorted(FILES)
    assert sum(entry.stat().st_size for entry in whole.iterdir()) <= 4096
    open_bundle(whole, verify=verify.is_valid)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_byte_is_refused(name: str, bundle: Path, no_parsing: list[str]) -> None:
    with (bundle / name).open("r+b", buffering=0) as file:
        for position, byte in enumerate(file.read()):
            for flip in (0x01, 0x80, 0xFF):
                os.pwrite(file.fileno(), bytes([byte ^ flip]), position)
                assert_refused(bundle)
            os.pwrite(file.fileno(), bytes([byte]), position)


@pytest.mark.parametrize("name", FILES)
def test_any_cut_is_refused(name: str, bundle: Path, no_parsing: list[str]) -> None:
    for length in reversed(range((bundle / name).stat().st_size)):
        os.truncate(bundle / name, length)
        assert_refused(bundle)


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"x" * 5000])
@pytest.mark.parametrize("name", FILES)
def test_anything_appended_is_refused(
    name: str, tail: bytes, bundle: Path, no_parsing: list[str]
) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes() + tail)
    assert_refused(bundle)


@pytest.mark.parametrize("name", FILES)
def test_any_missing_file_is_refused(name: str, bundle: Path, no_parsing: list[str]) -> None:
    (bundle / name).unlink()
    assert_refused(bundle)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "labels.txt.part", "blank name", "ü"])
def test_any_extra_file_is_refused(name: str, bundle: Path, no_parsing: list[str]) -> None:
    (bundle / name).write_bytes(b"")
    assert_refused(bundle)


def test_an_extra_file_with_an_undecodable_name_is_refused(
    bundle: Path, no_parsing: list[str]
) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(bundle) + b"/\xff\xfe"))).write_bytes(b"")
    except OSError:
        pass  # this file system refuses such names itself
    else:
        assert_refused(bundle)


def test_an_extra_directory_is_refused(bundle: Path, no_parsing: list[str]) -> None:
    (bundle / "extra").mkdir()
    assert_refused(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_the_very_file_is_refused(
    name: str, bundle: Path, tmp_path: Path, no_parsing: list[str]
) -> None:
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert_refused(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_place_of_a_file_is_refused(
    name: str, bundle: Path, no_parsing: list[str]
) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    assert_refused(bundle)


@pytest.mark.parametrize("name", [*FILES, "extra"])
def test_a_pipe_is_refused_and_never_waited_for(
    name: str, bundle: Path, no_parsing: list[str]
) -> None:
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)
    assert_refused(bundle)


def test_two_files_that_change_places_are_refused(bundle: Path, no_parsing: list[str]) -> None:
    (bundle / "labels.txt").rename(bundle / "spare")
    (bundle / "encoder.onnx").rename(bundle / "labels.txt")
    (bundle / "spare").rename(bundle / "encoder.onnx")
    assert_refused(bundle)


def test_a_manifest_of_another_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "other", name="other", labels=["one", "two"]).path
    for name in ("manifest.json", "manifest.sig"):
        shutil.copyfile(other / name, bundle / name)
    assert_refused(bundle)


@pytest.mark.parametrize("name", ["nothing", "file.wav", "empty", "nul\0byte"])
def test_what_is_no_bundle_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.wav").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / name)


def test_a_link_to_a_bundle_opens(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "slot").symlink_to(bundle)
    assert open_bundle(tmp_path / "slot", verify=verify.is_valid).name == "tiny"
