"""Files of the token cache: their bytes follow from the clips, and damage is noticed."""

import hashlib
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from support.token_world import write_clip, write_encoder

from export.tokens import ClipTokens, TokenCache
from export.tokens.shards import Shards


def made_up(number: int) -> tuple[str, ClipTokens]:
    """A key of bucket "00", and tokens."""
    rng = np.random.default_rng(number)
    n_chunks = number % 4 + 1
    return "00" + hashlib.sha256(bytes([number])).hexdigest()[:38], ClipTokens(
        rng.normal(size=(n_chunks, 5, 3)).astype(np.float16),
        rng.random((n_chunks, 5)) > 0.3,
        rng.normal(size=(n_chunks, 2)).astype(np.float16),
        rng.random(n_chunks).astype(np.float32),
    )


def add(shards: Shards, numbers: list[int]) -> None:
    with shards.lock("00"):
        shards.add("00", dict(map(made_up, numbers)))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), unique=True, min_size=1, max_size=12), st.randoms())
def test_bytes_do_not_depend_on_order_or_batches(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], random: Random
) -> None:
    one, other = (Shards(tmp_path_factory.mktemp("shards")) for _ in range(2))
    add(one, sorted(numbers))
    for batch in _batches(numbers, random):
        add(other, batch)
    assert content(one.folder) == content(other.folder)
    found = other.read("00")
    assert found.keys() == other.keys("00") == {made_up(number)[0] for number in numbers}
    for key, clip in map(made_up, numbers):
        for name in ("tokens", "valid", "cls", "level"):
            there, expected = getattr(found[key], name), getattr(clip, name)
            assert there.dtype == expected.dtype
            np.testing.assert_array_equal(there, expected)


def _batches(numbers: list[int], random: Random) -> Iterator[list[int]]:
    rest = list(numbers)
    random.shuffle(rest)
    while rest:
        n = random.randint(1, len(rest))
        yield rest[:n]
        rest = rest[n:]


def test_a_shard_is_a_safetensors_file(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    add(shards, [1])
    key, clip = made_up(1)
    there = load_file(tmp_path / "00.safetensors")
    assert {name: array.dtype.name for name, array in there.items()} == {
        f"{key}.tokens": "float16", f"{key}.valid": "uint8",
        f"{key}.cls": "float16", f"{key}.level": "float32",
    }  # fmt: skip
    np.testing.assert_array_equal(there[f"{key}.tokens"], clip.tokens)


def test_what_is_being_looked_at_outlives_its_shard(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    add(shards, [1])
    key, clip = made_up(1)
    seen = shards.read("00")[key]
    add(shards, [2, 3])
    (tmp_path / "00.safetensors").unlink()
    np.testing.assert_array_equal(seen.tokens, clip.tokens)


def test_writing_into_tokens_does_not_reach_the_file(tmp_path: Path) -> None:
    """torch takes only arrays that may be written into."""
    shards = Shards(tmp_path)
    add(shards, [1])
    before = content(tmp_path)
    shards.read("00")[made_up(1)[0]].tokens[:] = 0
    assert content(tmp_path) == before


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shards = Shards(tmp_path_factory.mktemp("shards"))
    add(shards, [1, 2])
    path = shards.folder / "00.safetensors"
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    found = shards.read_or_set_aside("00")
    if found:  # a space of the header's padding became another blank: nothing is lost
        assert position < 8 + int.from_bytes(whole[:8], "little")
        for key, clip in map(made_up, (1, 2)):
            np.testing.assert_array_equal(found[key].tokens, clip.tokens)
    else:
        assert (shards.folder / "00.damaged").read_bytes() == whole
        assert not path.exists()


@pytest.mark.parametrize("change", ["empty", "short", "half", "long"])
def test_a_damaged_shard_is_made_again(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_clip(tmp_path / "a.wav")
    cache = TokenCache(tmp_path / "cache", write_encoder(tmp_path / "encoder"))
    tokens = cache.tokens(clip).tokens.copy()
    (shard,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = shard.read_bytes()
    damaged = {"empty": b"", "short": whole[:4], "half": whole[:-9], "long": whole + b"x"}[change]
    shard.unlink()  # the tokens above are still mapped
    shard.write_bytes(damaged)
    encoded = cache.encode([clip])
    assert encoded.n_encoded == 1
    np.testing.assert_array_equal(encoded.tokens[0].tokens, tokens)
    assert shard.read_bytes() == whole
    assert shard.with_suffix(".damaged").read_bytes() == damaged
    (line,) = caplog.messages
    assert line.startswith(f"{shard}: is damaged: ")
    assert line.endswith("its clips are encoded again")


def test_half_written_files_go_unless_somebody_writes_them(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    for name in ("00.part", "ff.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".tmp0").write_text("half")
    with shards.lock("00"):
        Shards(tmp_path).remove_parts()
        assert (tmp_path / "00.part").exists()
        assert not (tmp_path / "ff.part").exists()
    add(shards, [1])  # takes the place of a half-written one
    assert not (tmp_path / "00.part").exists()
    assert shards.read("00").keys() == {made_up(1)[0]}


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    write_encoder(tmp_path)
    write_clip(tmp_path / "clips" / "a" / "a.wav", 400)
    limit = 50_000

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, "-m", "export", "tokens", tmp_path / "clips", "--cache", tmp_path / "c",
         "--encoder", tmp_path / "made_up.onnx"],
        capture_output=True, text=True, check=False, preexec_fn=small_files, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(r"^error: .*\.safetensors: cannot be written: ", done.stderr, re.MULTILINE)
    assert "hint: look at free space and permissions" in done.stderr
    assert not list((tmp_path / "c").rglob("*.part"))


def test_more_shards_are_mapped_than_a_shell_lets_files_be_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, hard))
    try:
        shards = Shards(tmp_path)
        _, tokens = made_up(0)
        found = []
        for number in range(80):
            bucket = f"{number:02x}"
            shards.add(bucket, {bucket + "0" * 38: tokens})
            found.append(shards.read(bucket))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(found) == 80
