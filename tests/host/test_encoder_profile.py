"""Memory and time of an encoder in processes of their own, with and without a cap."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made_encoders import RATE, EncoderGraph

from edge_probe.errors import EncoderError
from export.card import EncoderCard, facts_of, write_card
from export.cli import main
from export.encoders.cut import cut
from export.encoders.low_memory import write_pair
from export.encoders.memory_group import MOUNTS, MemoryGroup
from export.encoders.profile import Cost, NoRun, _cost, lies_in_memory, profile

WEIGHTS_MIB = 48


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> EncoderCard:
    """An encoder that reads 48 MiB of weights for every chunk, as a low-memory pair."""
    folder = tmp_path_factory.mktemp("heavy")
    graph = EncoderGraph()
    tokens = graph.trunk()
    width = WEIGHTS_MIB * 2**20 // 4 // 24 // 2
    mean = graph.step.add("ReduceMean", tokens, axes=[2, 3], keepdims=0)
    for shape in ((24, width), (width, 24)):
        weights = (graph.rng.normal(size=shape) / 1e4).astype(np.float32)
        mean = graph.step.add("MatMul", mean, graph.step.constant(weights))
    axes = graph.step.constant(np.array([2, 3]))
    tokens = graph.step.add("Add", tokens, graph.step.add("Unsqueeze", mean, axes))
    facts: dict[str, Any] = {"name": "heavy", "licence": "CC0-1.0", "sample_rate_hz": RATE}
    source = graph.save(tokens, folder / "source.onnx")
    card, _ = cut(source, "out", folder / "encoder.onnx", facts)
    write_pair(card, folder / "low.onnx")
    return write_card(folder / "low.onnx", facts_of(card))


def test_what_a_cap_makes_of_mapped_weights(
    heavy: EncoderCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.encoders.profile.PROFILES", ("low-memory",))
    group = MemoryGroup.make()
    if group is None:
        found = profile(heavy, (160,), n_chunks=3)
        assert found.why_no_caps is not None
        assert [cost.cap_mib for cost in found.costs] == [None]
        return
    group.remove()
    found = profile(heavy, (250, 85, 30), n_chunks=4)
    assert found.why_no_caps is None
    assert found.file_mib == pytest.approx(WEIGHTS_MIB, rel=0.05)
    free, roomy, tight, impossible = found.costs
    assert isinstance(free, Cost)
    assert isinstance(roomy, Cost)
    assert isinstance(tight, Cost)
    assert [cost.cap_mib for cost in found.costs] == [None, 250, 85, 30]
    assert free.reread_mib_per_chunk == roomy.reread_mib_per_chunk == 0
    assert roomy.verdict == "fits"
    assert free.anonymous_mib is not None
    assert roomy.anonymous_mib is roomy.file_mapped_mib is None
    assert tight.reread_mib_per_chunk > 0.5 * WEIGHTS_MIB
    assert tight.major_faults_per_chunk > 1
    assert tight.verdict.startswith("thrashes: ")
    assert impossible == NoRun(
        "low-memory", 30, "does not run: the kernel ends it for lack of memory"
    )


def test_profiles_differ_in_what_is_copied(heavy: EncoderCard) -> None:
    low, fast = profile(heavy, (), n_chunks=2).costs
    assert isinstance(low, Cost)
    assert isinstance(fast, Cost)
    assert (low.profile, fast.profile) == ("low-memory", "fast")
    assert low.anonymous_mib is not None
    assert low.file_mapped_mib is not None
    assert fast.anonymous_mib is not None
    # weights are mapped, not copied: they are no anonymous memory, and not loaded before they run
    assert low.anonymous_mib < 40
    assert low.file_mapped_mib > WEIGHTS_MIB
    assert low.load_peak_mib < low.total_mib - 0.8 * WEIGHTS_MIB
    assert fast.anonymous_mib > low.anonymous_mib + 0.5 * WEIGHTS_MIB


COST = Cost("low-memory", 130, 0.1, 60, 100, 40, 60, 12, 0.99, 25)


def test_verdict_is_about_bytes_read_again() -> None:
    assert COST.verdict == "fits"
    assert replace(COST, reread_mib_per_chunk=1.0).verdict == (
        "thrashes: 1 MiB per chunk, at least 0.1 s on a card reading 20 MiB/s"
    )
    assert replace(COST, reread_mib_per_chunk=86.4).verdict == (
        "thrashes: 86 MiB per chunk, at least 4.3 s on a card reading 20 MiB/s"
    )


def test_thrashing_without_end_is_no_run(
    heavy: EncoderCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.encoders.profile._CAPPED_LIMIT_S", 0.01)
    capped = _cost(heavy, "low-memory", 250, 1, 0.0)
    assert capped == NoRun("low-memory", 250, "does not run: not finished after 0.01 s")


def test_no_cgroup_is_said(
    heavy: EncoderCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup {tmp_path / 'gone'} cgroup ro 0 0\nnone {tmp_path} cgroup2 ro 0 0\n")
    monkeypatch.setattr("export.encoders.memory_group.MOUNTS", mounts)
    assert main(["encoder", "profile", str(heavy.graph), "--chunks", "1"]) == 0
    out = capsys.readouterr().out
    assert (
        "no caps   no memory cgroup can be made, which takes root: "
        f"{tmp_path / 'gone'}: No such file or directory; {tmp_path}: is not for memory\n" in out
    )
    assert sorted(tmp_path.iterdir()) == [mounts]
    assert out.count(" fits") == 2


def test_encoder_in_memory_is_refused(heavy: EncoderCard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lies_in_memory(Path("/proc/self/status")) is False
    monkeypatch.setattr("export.encoders.profile.lies_in_memory", lambda path: True)
    with pytest.raises(EncoderError, match="nothing is read again from there"):
        profile(heavy, ())


def test_ctrl_c_leaves_no_process_and_no_group(heavy: EncoderCard) -> None:
    """It comes while a process measures, and to the command alone: not from a terminal."""
    command = subprocess.Popen(
        [sys.executable, "-m", "export", "encoder", "profile", heavy.graph, "--chunks", "10000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    while not (pids := children.read_text(encoding="ascii").split()):
        assert command.poll() is None
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (130, "interrupted\n")
    end = time.monotonic() + 30  # one that was not given its order yet ends when its pipe does
    while [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < end
        time.sleep(0.05)
    mounts = MOUNTS.read_text(encoding="utf-8").splitlines()
    groups = [Path(line.split()[1]) / f"edge-probe-{command.pid}" for line in mounts]
    assert not [group for group in groups if group.exists()]
