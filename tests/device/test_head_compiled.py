"""The C sources compiled for other CPUs and under sanitizers, against what NumPy computed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support.vectors import BLOCKS, DIMS, write_vectors

ROOT = Path(__file__).parents[2]
SOURCES = sorted(map(str, (ROOT / "edge_probe" / "head" / "native").glob("*.c")))
FLAGS = [
    "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno",
    "-fno-trapping-math",
]  # fmt: skip
BOARDS = {"cortex-a53": False, "cortex-a72": False, "cortex-a76": True}
"""CPUs of the Raspberry Pi 3 and Zero 2, 4 and 5: whether they have dot-product instructions."""

SIGILL = 132
N_SIZES = len(DIMS) + len(BLOCKS)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def build(compiler: str, target: Path, *flags: str) -> Path:
    driver = str(ROOT / "tests" / "native" / "check.c")
    done = subprocess.run(
        [compiler, *FLAGS, *flags, driver, *SOURCES, "-lm", "-o", str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "all.bin"
    assert write_vectors(path) == 8 * N_SIZES
    return path


@pytest.fixture(scope="module")
def for_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = tool("aarch64-linux-gnu-gcc")
    return build(compiler, tmp_path_factory.mktemp("arm") / "check", "-O3", "-static")


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=300
    )


def checked(done: "subprocess.CompletedProcess[str]") -> dict[str, int]:
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("board", BOARDS)
def test_kernels_of_a_board_under_emulation(board: str, for_arm: Path, vectors: Path) -> None:
    counts = checked(run(tool("qemu-aarch64-static"), "-cpu", board, for_arm, vectors))
    expected = {"native-scalar", "native-neon-popcount", "native-neon-lut"}
    assert counts.keys() == expected | ({"native-neon-dot"} if BOARDS[board] else set())
    assert counts["native-neon-lut"] == 8 * N_SIZES
    assert counts["native-neon-popcount"] == N_SIZES


@pytest.mark.parametrize("board", BOARDS)
def test_dot_products_would_be_noticed_where_there_are_none(
    board: str, for_arm: Path, vectors: Path
) -> None:
    """Forced on a board without them they are an illegal instruction; the runs above met none."""
    emulator = tool("qemu-aarch64-static")
    done = run(emulator, "-cpu", board, for_arm, vectors, "native-neon-dot")
    assert (done.returncode == 0) == BOARDS[board]
    assert BOARDS[board] or done.returncode in (SIGILL, -4)


@pytest.mark.parametrize("sanitizer", ["address,undefined"])
def test_nothing_is_read_or_written_out_of_bounds(
    sanitizer: str, tmp_path: Path, vectors: Path
) -> None:
    flags = ("-O1", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all")
    check = build(tool("gcc"), tmp_path / "check", *flags)
    counts = checked(run(check, vectors))
    assert counts["native-scalar"] == 8 * N_SIZES


def test_a_wrong_bit_is_noticed(tmp_path: Path, vectors: Path) -> None:
    check = build(tool("gcc"), tmp_path / "check", "-O2")
    assert run(check, vectors).returncode == 0
    data = bytearray(vectors.read_bytes())
    data[-4] ^= 1  # the token that reaches the last score
    spoilt = tmp_path / "spoilt.bin"
    spoilt.write_bytes(data)
    done = run(check, spoilt)
    assert done.returncode == 1
    assert "tokens of native-scalar differ: " in done.stdout
