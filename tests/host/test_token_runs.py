"""``edge-export tokens`` killed, interrupted, doubled, and on more tokens than memory."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.token_world import write_big_encoder, write_clip, write_encoder

from export.tokens import TokenCache

N_CLIPS = 160
N_KILLS = 5
DEADLINE_S = 60

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of many lengths, one that is none, and an encoder."""
    folder = tmp_path_factory.mktemp("world")
    write_encoder(folder)
    for number in range(N_CLIPS):
        write_clip(folder / "clips" / f"{number}.wav", 20 + number % 7, seed=number)
    (folder / "clips" / "broken.wav").write_text("no audio")
    return folder


def start(world: Path, cache: str, workers: int, seed: int = 0) -> "subprocess.Popen[str]":
    """Encode the clips in an order of its own."""
    rows = [[f"clips/{path.name}", "a"] for path in sorted((world / "clips").iterdir())]
    rows = np.random.default_rng(seed).permutation(rows).tolist()
    table = world / f"{cache}{seed}.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label"], *rows])
    return subprocess.Popen(
        [sys.executable, "-m", "export", "tokens", table, "--encoder", world / "made_up.onnx",
         "--cache", world / cache, "--workers", str(workers)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Encoded clips and stderr of a run that must succeed."""
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert f"{N_CLIPS} clips of 1 classes are encoded" in out
    assert "1 unreadable" in out
    assert err.splitlines()[-1].startswith("WARNING: left out: ")
    assert "broken.wav: " in err.splitlines()[-1]
    (encoded,) = re.findall(r"^(\d+) encoded", out, re.MULTILINE)
    return int(encoded), err


def files(world: Path, cache: str) -> Files:
    paths = [path for path in (world / cache).rglob("*") if path.is_file()]
    return {str(path.relative_to(world / cache)): path.read_bytes() for path in paths}


def times(world: Path, cache: str) -> dict[Path, int]:
    """When each shard was written."""
    shards = (world / cache).glob("*/*.safetensors")
    return {path: path.stat().st_mtime_ns for path in shards}


def n_shards(world: Path, cache: str) -> int:
    return sum(1 for _ in (world / cache).glob("*/*.safetensors"))


def n_whole(undisturbed: Files) -> int:
    """Shards of a run that nobody disturbed."""
    return sum(name.endswith(".safetensors") for name in undisturbed)


def wait_for_shards(process: "subprocess.Popen[str]", world: Path, cache: str, n: int) -> None:
    """Wait until so many shards are there."""
    deadline = time.monotonic() + DEADLINE_S
    while n_shards(world, cache) < n:
        assert process.poll() is None, "it ended too early to be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def assert_gone(pids: list[int]) -> None:
    """No process outlives the one that started it."""
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(world: Path) -> Files:
    encoded, err = finish(start(world, "undisturbed", workers=1))
    assert encoded == N_CLIPS
    assert re.search(r"encode: 100%.*\d+/\d+ \[\d+:\d+<\d+:\d+, +[\d.]+clip/s\]", err)
    return files(world, "undisturbed")


def test_killed_at_random_points_the_cache_is_the_same_to_the_byte(
    world: Path, undisturbed: Files
) -> None:
    rng, cache = np.random.default_rng(), "killed"
    for kill in range(N_KILLS):
        workers = 1 + kill % 2
        process = start(world, cache, workers, seed=kill)
        wait_for_shards(process, world, cache, n_shards(world, cache) + int(rng.integers(1, 12)))
        time.sleep(rng.uniform(0, 0.02))
        pids = workers_of(process)
        assert len(pids) == (2 if workers == 2 else 0)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert_gone(pids)
    written = times(world, cache)
    encoded, _ = finish(start(world, cache, 2, seed=N_KILLS))
    assert 0 < encoded < N_CLIPS
    assert files(world, cache) == undisturbed
    assert len(written.items() & times(world, cache).items()) >= len(written) - encoded


def test_two_processes_on_one_cache_share_the_work(world: Path, undisturbed: Files) -> None:
    both = [start(world, "shared", 1, seed=seed) for seed in (1, 2)]
    encoded = [finish(process)[0] for process in both]
    assert sum(encoded) == N_CLIPS
    assert files(world, "shared") == undisturbed


def test_ctrl_c_ends_the_run_and_keeps_what_is_done(world: Path, undisturbed: Files) -> None:
    for attempt in range(20):  # on a busy machine all may be encoded before the signal is sent
        cache = f"interrupted{attempt}"
        process = start(world, cache, 2)
        wait_for_shards(process, world, cache, 1)
        pids = workers_of(process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=DEADLINE_S)
        if process.returncode != 0:
            break
        assert files(world, cache) == undisturbed, "it ended early and said that all went well"
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert_gone(pids)
    kept = n_shards(world, cache)
    assert not [name for name in files(world, cache) if name.endswith(".part")]
    encoded, _ = finish(start(world, cache, 1))
    assert encoded <= N_CLIPS - kept
    assert files(world, cache) == undisturbed


def test_a_killed_worker_is_one_clear_error(world: Path, undisturbed: Files) -> None:
    for attempt in range(5):  # as above
        cache = f"starved{attempt}"
        process = start(world, cache, 2)
        wait_for_shards(process, world, cache, 5)
        os.kill(workers_of(process)[0], signal.SIGKILL)
        _, err = process.communicate(timeout=DEADLINE_S)
        if n_shards(world, cache) < n_whole(undisturbed):
            break
    assert process.returncode == 1
    assert err.splitlines()[-2].startswith("error: a process that encodes clips was killed")
    assert err.splitlines()[-1].endswith("fewer --workers")
    assert "Traceback" not in err
    finish(start(world, cache, 1))
    assert files(world, cache) == undisturbed


def test_an_encoder_that_fails_in_a_worker_fails_as_it_does_here(world: Path) -> None:
    write_clip(world / "loud" / "a" / "loud.wav", 2, gain=1e6)
    for number in range(40):
        write_clip(world / "loud" / "a" / f"{number}.wav", 2, seed=number)
    done = subprocess.run(
        [sys.executable, "-m", "export", "tokens", world / "loud", "--encoder",
         world / "made_up.onnx", "--cache", world / "loud_cache", "--workers", "2"],
        capture_output=True, text=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()[-2:]
    assert re.match(r"error: .* reach [\d.]+e\+0[56] on .*loud\.wav", error)
    assert hint.startswith("hint: let the graph divide its output")
    assert "Traceback" not in done.stderr


def test_workers_do_as_this_process_does(tmp_path: Path) -> None:
    """Also after this process has loaded the encoder for itself."""
    card = write_encoder(tmp_path)
    clips = [write_clip(tmp_path / "clips" / f"{n}.wav", seed=n) for n in range(40)]
    alone = TokenCache(tmp_path / "alone", card, workers=1)
    several = TokenCache(tmp_path / "several", card, workers=2)
    assert several.encode(clips[:3]).n_encoded == 3
    assert several.encode(clips).n_encoded == 37
    for one, other in zip(alone.encode(clips).tokens, several.encode(clips).tokens, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
    assert files(tmp_path, "alone") == files(tmp_path, "several")


LOOK = """
import sys
from pathlib import Path
import numpy as np
from export.card import read_card
from export.clips import Clip
from export.tokens import TokenCache

def anonymous_mib():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1024

world = Path(sys.argv[1])
clips = [Clip(path, (), path.stem) for path in sorted((world / "clips").iterdir())]
cache = TokenCache(world / "cache", read_card(world / "big.onnx"))
before = anonymous_mib()
encoded = cache.encode(clips)
total = sum(int(clip.tokens.view(np.uint64).sum() % 2**31) for clip in encoded.tokens)
print(encoded.n_encoded, total, anonymous_mib() - before)
"""


def test_a_cache_is_read_in_less_memory_than_it_takes(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", write_big_encoder(tmp_path), workers=1)
    clips = [write_clip(tmp_path / "clips" / f"{n}.wav", 0.8, seed=n) for n in range(38)]
    tokens = cache.encode(clips).tokens
    assert sum(clip.tokens.nbytes for clip in tokens) >= 300 << 20
    expected = sum(int(clip.tokens.view(np.uint64).sum() % 2**31) for clip in tokens)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path], capture_output=True, text=True, check=True,
        timeout=DEADLINE_S,
    )  # fmt: skip
    encoded, total, grown_mib = done.stdout.split()
    assert (int(encoded), int(total)) == (0, expected)
    assert float(grown_mib) < 60
    shutil.rmtree(tmp_path / "cache")  # pytest would keep it for three runs
