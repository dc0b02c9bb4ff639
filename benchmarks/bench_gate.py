"""Whether an activity gate before the encoder is worth it: CPU time against what it misses.

``python benchmarks/bench_gate.py [SHARED_DATA]``; some minutes of one core. Bouts of a Bengalese
finch are planted into a day of a microphone in a forest at known levels, and heard by a head that
was taught them, with and without a gate.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402
import soxr  # noqa: E402
import table  # noqa: E402
from bench_boxes import cards, lessons, taught  # noqa: E402
from machine import cpu_flags, machine  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from planted import FIRST_TEST_SONG, Bouts  # noqa: E402
from support.koumura import BACKGROUND_GAIN, RATE, TYPES  # noqa: E402

from edge_probe.analysis.gate import PROBE_EVERY, Gate, GateOptions  # noqa: E402
from edge_probe.bundle import Bundle  # noqa: E402
from edge_probe.classify import ChunkAnalyser  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "gate.json"

SITE = "maad_S4A03895_24h"

OPEN_DB = (3.0, 6.0, 9.0, 12.0, 15.0)

N_BEFORE = 3
"""Times that a gate hears a recording of ten seconds before it counts: what is usual there."""

SNR_DB = (0.0, 6.0, 12.0, 20.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A recording, with a bout in it or not."""

    hour: int
    samples: NDArray[np.float32]
    span_s: tuple[float, float] | None
    label: str | None


def recordings(shared: Path, n_kept: int | None) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """A day of the forest: hour, and ten seconds as loud as where heads were taught."""
    paths = sorted((shared / "soundscapes" / SITE).glob("*.flac"))
    for path in paths[:: 1 if n_kept is None else len(paths) // n_kept]:
        samples, rate = sf.read(path, dtype="float32")
        yield (
            int(path.stem.rsplit("_", 1)[1][:2]),
            soxr.resample(samples, rate, RATE) * np.float32(BACKGROUND_GAIN),
        )


def planted(
    shared: Path, snr_db: float, rng: np.random.Generator, n_kept: int | None
) -> Iterator[Scene]:
    """A bout in each recording, so many dB above it in the band of the gate."""
    draw = Bouts(shared, TYPES, range(FIRST_TEST_SONG, 135), (1, 20))
    for hour, background in recordings(shared, n_kept):
        bout, sound = draw(rng)
        bout = bout[: len(background) - RATE]
        first = int(rng.integers(len(background) - len(bout)))
        under = background[first : first + len(bout)]
        apart_db = _power_db(bout) - _power_db(under)
        samples = background.copy()
        samples[first : first + len(bout)] += bout * np.float32(10 ** ((snr_db - apart_db) / 20))
        span_s = first / RATE, (first + len(bout)) / RATE
        yield Scene(hour, samples, span_s, sound.label)


def _power_db(samples: NDArray[np.float32]) -> float:
    """In the band where gates listen."""
    hz, band = np.fft.rfftfreq(len(samples), 1 / RATE), GateOptions(0.0)
    within = (hz >= band.low_hz) & (hz <= band.high_hz)
    power = np.square(np.abs(np.fft.rfft(samples)[within])).sum() / len(samples) ** 2
    return float(10 * np.log10(power))


@dataclass(frozen=True, slots=True)
class Heard:
    """A scene chunk by chunk."""

    spans_s: Sequence[tuple[float, float]]
    logits: NDArray[np.float64]
    """(chunks, C) of each chunk as a window of its own."""
    opened: dict[float, list[bool]]
    """By the threshold of the gate; its probes do not count."""
    gate_cpu_s: float
    road_cpu_s: float


def hear(analyser: ChunkAnalyser, scene: Scene) -> Heard:
    """Encode every chunk of a scene, and ask the gates about it."""
    head, grid = analyser.bundle.head, analyser.grid(RATE)
    n_chunks = len(scene.samples) // (grid.native_slice(1)[1] - grid.native_slice(1)[0])
    tiles = [grid.tile(index) for index in range(n_chunks)]
    parts = [scene.samples[first:last] for first, last in tiles]
    opened: dict[float, list[bool]] = {}
    begin = process_time()
    for open_db in OPEN_DB:
        gate = Gate(GateOptions(open_db), grid)
        opened[open_db] = [
            gate.verdict(N_BEFORE * n_chunks + n, part, lambda before: parts[before % n_chunks])
            == "open"
            for n, part in enumerate(parts)
        ]
    gate_cpu_s = (process_time() - begin) / len(OPEN_DB) / (N_BEFORE + 1)
    begin, logits = process_time(), []
    for index in range(n_chunks):
        first, last = grid.native_slice(index)
        summary = analyser.summary(grid.chunk(index, scene.samples[first:last], None))
        logits.append(head.logits(head.merge([summary])))  # type: ignore[arg-type,list-item]
    spans_s = [(first / RATE, last / RATE) for first, last in tiles]
    return Heard(spans_s, np.array(logits), opened, gate_cpu_s, process_time() - begin)


def measure(shared: Path, bundle: Bundle, n_kept: int | None) -> dict[str, Any]:
    """How much passes where nothing was planted, and how many detected bouts do not."""
    analyser = ChunkAnalyser(bundle)
    quiet = [
        (hour, hear(analyser, Scene(hour, samples, None, None)))
        for hour, samples in recordings(shared, n_kept)
    ]
    of_gate = sum(heard.gate_cpu_s for _, heard in quiet)
    of_road = sum(heard.road_cpu_s for _, heard in quiet)
    audio_s = sum(heard.spans_s[-1][1] for _, heard in quiet)
    rng = np.random.default_rng(0)
    levels = []
    for snr_db in SNR_DB:
        scenes = planted(shared, snr_db, rng, n_kept)
        levels.append((snr_db, [(scene, hear(analyser, scene)) for scene in scenes]))
    rows = []
    for on_db in OPEN_DB:
        share, by_night = (
            _encoded([heard.opened[on_db] for hour, heard in quiet if hour < before])
            for before in (24, 5)
        )
        rows.append({
            "on_db": on_db, "passed": round(share, 4), "passed_at_night": round(by_night, 4),
            "cpu_s_per_hour": round(3600 * (of_gate + share * of_road) / audio_s, 2),
            "missed": [_missed(bundle, snr_db, heard, on_db) for snr_db, heard in levels],
        })  # fmt: skip
    return {
        "n_recordings": len(quiet), "audio_s": round(audio_s, 1),
        "chunk_s": round(bundle.encoder.chunk_s, 3),
        "without_gate_cpu_s_per_hour": round(3600 * of_road / audio_s, 2),
        "gate_cpu_s_per_hour": round(3600 * of_gate / audio_s, 2), "rows": rows,
    }  # fmt: skip


def _encoded(opened: Sequence[Sequence[bool]]) -> float:
    """Share of the chunks that are encoded: those that open the gate, and the probes."""
    share = float(np.mean(np.concatenate(opened)))
    return share + (1 - share) / PROBE_EVERY


def _missed(
    bundle: Bundle, snr_db: float, scenes: Sequence[tuple[Scene, Heard]], on_db: float
) -> dict[str, Any]:
    """Of bouts that are detected without a gate, those of which no detecting chunk opens it."""
    names = [label.text for label in bundle.labels]
    n_detected = n_lost = 0
    for scene, heard in scenes:
        assert scene.span_s is not None
        assert scene.label is not None
        column = names.index(scene.label)
        detecting = [
            index for index, (begin, end) in enumerate(heard.spans_s)
            if begin < scene.span_s[1] and end > scene.span_s[0]
            and heard.logits[index, column] >= bundle.threshold_on[column]
        ]  # fmt: skip
        n_detected += bool(detecting)
        n_lost += bool(detecting) and not any(heard.opened[on_db][index] for index in detecting)
    return {"snr_db": snr_db, "n": len(scenes), "n_detected": n_detected, "n_lost": n_lost}


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="a few of each, write nothing")
    args = parser.parse_args()
    names = ("demo",) if args.smoke else ("demo", "YAMNet")
    result: dict[str, Any] = {"machine": machine() | {"flags": cpu_flags()}, "encoders": {}}
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as folder:
        work = Path(folder)
        made = cards(args.data, work)
        for name in names:
            lesson = lessons(args.data)[-1]
            bundle = taught(made[name], lesson, 60 if args.smoke else 240, work / name)
            result["encoders"][name] = measure(args.data, bundle, 8 if args.smoke else None)
    print(json.dumps(result, indent=1))
    if not args.smoke:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        table.put_all(table.load(RESULTS.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
