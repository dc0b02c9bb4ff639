"""``NAME.epb``: what was packed comes out again; anything else is refused and leaves nothing."""

import io
import os
import random
import shutil
import tracemalloc
from functools import lru_cache
from pathlib import Path
from time import process_time

import pytest
from support.hostile import transport
from support.owner import BACKUP, GOLDEN_EPB, PRIMARY, TRUSTED, pack
from support.tiny_bundle import GOLDEN, resign

from edge_probe.bundle import Rejection, open_bundle, verify
from edge_probe.bundle.reject import RejectedBundleError
from edge_probe.bundle.transport import pack_bundle, read_transport, unpack_bundle
from edge_probe.bundle.trust import DEVELOPMENT
from edge_probe.errors import BundleError

CASES = [
    pytest.param(reason, spoil, id=f"{reason.value}: {case}")
    for reason, cases in transport.CASES.items()
    for case, spoil in cases.items()
]

cached = lru_cache(maxsize=None)(verify.is_valid)


def read(data: bytes) -> None:
    """Read a transport file as a device would, and keep nothing."""
    read_transport(
        io.BytesIO(data).read, lambda name: io.BytesIO(), where="x", verify=cached, trusted=TRUSTED
    )


def unpack(source: Path, directory: Path) -> Path:
    return unpack_bundle(source, directory, verify=verify.is_valid, trusted=TRUSTED).path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_packed_comes_out_again(tmp_path: Path) -> None:
    pack(tmp_path / "tiny.epb")
    bundle = unpack_bundle(
        tmp_path / "tiny.epb", tmp_path / "out", verify=verify.is_valid, trusted=TRUSTED
    )
    assert bundle.path == tmp_path / "out"
    assert bundle.manifest.release == 7
    assert bundle.signed_by == TRUSTED[0]
    before, after = contents(GOLDEN), contents(bundle.path)
    changed = {name for name in before if before[name] != after.pop(name)}
    assert changed == {"manifest.json", "manifest.sig"}
    assert not after
    assert open_bundle(bundle.path, trusted=TRUSTED).id == bundle.id, "the child agrees"


def test_golden_file_is_what_is_packed(tmp_path: Path) -> None:
    assert pack(tmp_path / "tiny.epb") == GOLDEN_EPB.read_bytes()
    assert GOLDEN_EPB.stat().st_size <= 4096
    read(GOLDEN_EPB.read_bytes())


@pytest.mark.parametrize(("reason", "spoil"), CASES)
def test_hostile_file_is_refused_for_the_reason_it_deserves(
    reason: Rejection, spoil: transport.Hostile, tmp_path: Path
) -> None:
    source = tmp_path / "tiny.epb"
    source.write_bytes(spoil(GOLDEN_EPB.read_bytes()))
    with pytest.raises(RejectedBundleError) as caught:
        unpack(source, tmp_path / "out")
    assert caught.value.reason is reason, caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == [source]


def test_there_are_at_least_60_attacks() -> None:
    assert len(CASES) >= 60


def test_every_flipped_bit_is_refused() -> None:
    good = GOLDEN_EPB.read_bytes()
    slowest = 0.0
    for position, byte in enumerate(good):
        for bit in range(8):
            spoilt = good[:position] + bytes([byte ^ 1 << bit]) + good[position + 1 :]
            began = process_time()
            with pytest.raises(RejectedBundleError):
                read(spoilt)
            slowest = max(slowest, process_time() - began)
    assert slowest < 1


def test_every_cut_is_refused() -> None:
    good = GOLDEN_EPB.read_bytes()
    for length in range(len(good)):
        with pytest.raises(RejectedBundleError):
            read(good[:length])


def test_flips_and_cuts_on_disk_leave_nothing_behind(tmp_path: Path) -> None:
    good, chance = GOLDEN_EPB.read_bytes(), random.Random(7)
    source = tmp_path / "tiny.epb"
    for _ in range(150):
        position = chance.randrange(len(good))
        flipped = bytearray(good)
        flipped[position] ^= 1 << chance.randrange(8)
        for spoilt in (flipped, good[:position]):
            source.write_bytes(spoilt)
            with pytest.raises(RejectedBundleError):
                unpack(source, tmp_path / "out")
            assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("block", [1, 3, 64, 4096])
def test_a_stream_may_come_in_pieces_of_any_size(block: int) -> None:
    stream, kept = io.BytesIO(GOLDEN_EPB.read_bytes()), {}

    def create(name: str) -> io.BytesIO:
        kept[name] = io.BytesIO()
        kept[name].close = lambda: None  # type: ignore[method-assign]
        return kept[name]

    manifest = read_transport(
        lambda limit: stream.read(min(limit, block)), create,
        where="x", verify=cached, trusted=TRUSTED,
    )  # fmt: skip
    for name in manifest.files:
        assert kept[name].getvalue() == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("reason", [Rejection.SIGNATURE, Rejection.RELEASE, Rejection.FILE_NAME])
def test_nothing_is_created_before_the_manifest_is_good(reason: Rejection) -> None:
    created: list[str] = []

    def create(name: str) -> io.BytesIO:
        created.append(name)
        return io.BytesIO()

    for spoil in transport.CASES[reason].values():
        stream = io.BytesIO(spoil(GOLDEN_EPB.read_bytes()))
        with pytest.raises(RejectedBundleError):
            read_transport(stream.read, create, where="x", verify=cached, trusted=TRUSTED)
    assert created == []


@pytest.mark.parametrize("case", ["length one over the limit", "length of 4 GiB", "length 0"])
def test_an_endless_stream_is_not_read_beyond_a_wrong_length(case: str) -> None:
    start = io.BytesIO(transport.CASES[Rejection.TRANSPORT][case](GOLDEN_EPB.read_bytes())[:12])
    with pytest.raises(RejectedBundleError, match="E14"):
        read_transport(
            lambda limit: start.read(limit) or pytest.fail("asked for more"),
            lambda name: io.BytesIO(),
            where="x", verify=cached, trusted=TRUSTED,
        )  # fmt: skip


def test_a_large_file_streams_through_little_memory(tmp_path: Path) -> None:
    """32 MiB of external data: at most a few blocks are in memory at a time."""
    good = transport.Parts.of(GOLDEN_EPB.read_bytes())
    big = bytes(2**25)
    sha256 = "83ee47245398adee79bd9c0a8bc57b821e92aba10f5f9ade8a5d1fae4d8c4302"
    described = f'"files":{{"a.bin":{{"sha256":"{sha256}","size_bytes":{len(big)}}},'
    manifest = good.manifest.replace(b'"files":{', described.encode())
    source = tmp_path / "big.epb"
    source.write_bytes(transport.signed_bytes(manifest, [big, *good.contents]).to_bytes())
    del big
    tracemalloc.start()
    with pytest.raises(RejectedBundleError) as caught:
        unpack(source, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.reason is Rejection.FILE_UNUSED, "all of it was read"
    assert peak < 8 * 2**20


@pytest.mark.parametrize("kind", ["directory", "pipe", "link", "nothing"])
def test_what_is_no_file_is_refused_and_never_waited_for(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "tiny.epb"
    if kind == "directory":
        source.mkdir()
    elif kind == "pipe":
        os.mkfifo(source)
    elif kind == "link":
        source.symlink_to(GOLDEN_EPB)
    with pytest.raises(RejectedBundleError):
        unpack(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_backup_key_signs_as_well(tmp_path: Path) -> None:
    pack(tmp_path / "tiny.epb", key=BACKUP)
    found = unpack_bundle(
        tmp_path / "tiny.epb", tmp_path / "out", verify=verify.is_valid, trusted=TRUSTED
    )
    assert found.signed_by == TRUSTED[1]


def test_a_machine_without_a_store_refuses_what_an_owner_signed(tmp_path: Path) -> None:
    with pytest.raises(RejectedBundleError) as caught:
        unpack_bundle(GOLDEN_EPB, tmp_path / "out", verify=verify.is_valid, trusted=[DEVELOPMENT])
    assert caught.value.reason is Rejection.SIGNATURE


def test_a_directory_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="exists"):
        unpack(GOLDEN_EPB, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]
    assert not contents(tmp_path / "out")


def test_a_disk_that_is_full_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        unpack(GOLDEN_EPB, tmp_path / "out")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def _full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("release", [0, -1, 2**31])
def test_a_release_out_of_range_is_never_signed(release: int, tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        pack(tmp_path / "tiny.epb", release=release)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tiny.zip", "there.epb", "link.epb"])
def test_only_a_new_epb_file_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "there.epb").write_bytes(b"release 6")
    (tmp_path / "link.epb").symlink_to("nowhere")
    with pytest.raises(BundleError, match="expected a new file"):
        pack(tmp_path / name)
    assert (tmp_path / "there.epb").read_bytes() == b"release 6"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_bundle_that_changed_since_it_was_opened_is_not_signed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "tiny"))
    bundle = open_bundle(folder, verify=verify.is_valid, trusted=[DEVELOPMENT])
    (folder / "labels.txt").write_bytes(b"Another bird\nbackground\n")
    resign(folder)
    with pytest.raises(RejectedBundleError):
        pack_bundle(bundle, tmp_path / "tiny.epb", release=7, sign=PRIMARY.sign)
    assert list(tmp_path.iterdir()) == [folder]
