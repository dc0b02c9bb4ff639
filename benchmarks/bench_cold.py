"""Cold start: from the start of a process to its end, which is when the first decision stands."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import made_up
import numpy as np
import soundfile as sf
from machine import ONE_THREAD

from edge_probe.commands.classify import DEMO_BUNDLE
from export.card import EncoderCard

ROUNDS = 7


def measure(cards: Mapping[str, EncoderCard], rounds: int = ROUNDS) -> list[dict[str, object]]:
    """A row for the help text, and one for one window classified with each encoder.

    Files are in the page cache: a card adds the time that it takes to read them.
    """
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as name:
        folder = Path(name)
        rows = [{"what": "edge-probe --help", **_timed(["--help"], rounds)},
                _classified("demo bundle", DEMO_BUNDLE, 1.28, folder, rounds)]  # fmt: skip
        for number, (encoder, card) in enumerate(cards.items()):
            head = made_up.protobin(1, 10, 200, card.spec.grid.n_dims)
            bundle = made_up.bundle(card, head, folder / f"bundle {number}")
            rows.append(_classified(encoder, bundle.path, card.spec.chunk_s, folder, rounds))
    return rows


def _classified(
    what: str, bundle: Path, chunk_s: float, folder: Path, rounds: int
) -> dict[str, object]:
    """One window of noise at 48 kHz."""
    audio = folder / "noise.wav"
    noise = np.random.default_rng(0).normal(0, 0.05, round(2 * chunk_s * 48_000))
    sf.write(audio, noise, 48_000, subtype="PCM_16")
    command = ["classify", str(audio), "--bundle", str(bundle)]
    return {"what": f"first decision, {what}", **_timed(command, rounds)}


def _timed(arguments: Sequence[str], rounds: int) -> dict[str, object]:
    """Seconds of a whole process by the clock and of CPU; the first start does not count."""
    wall, cpu = [], []
    for _ in range(rounds + 1):
        before, begin = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "edge_probe", *arguments], check=True,
                       env={**os.environ, **ONE_THREAD}, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        wall.append(time.perf_counter() - begin)
        after = os.times()
        cpu.append(after.children_user + after.children_system
                   - before.children_user - before.children_system)  # fmt: skip
    return {
        "wall_s": round(median(wall[1:]), 3), "wall_s_most": round(max(wall[1:]), 3),
        "cpu_s": round(median(cpu[1:]), 3), "rounds": rounds,
    }  # fmt: skip
