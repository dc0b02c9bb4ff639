"""A folder of recordings on this machine: throughput, scaling, memory, and a hundred hours.

``bench_archive.py WORK`` takes an hour and writes ``results/archive.json``. WORK is a folder
for what is made: with the same one it goes on. ``--smoke`` is short and writes nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

import archive_season
import made_up
import numpy as np
import onnxruntime as ort
import probing_data
import soundfile as sf
import soxr
from bench_overhead import SHARED
from machine import machine, refuse_emulation

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.chunk import Chunker
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.desk.survey.listing import Batch, Entry
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.pool import Pool
from edge_probe.desk.survey.survey import Request, Workers, classify_folder
from edge_probe.desk.survey.work import BatchResult, Work, analyse_batch
from edge_probe.encoder import session_options
from edge_probe.processes import available_cores
from edge_probe.source.files import AudioFile

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "archive.json"
RECORDINGS = SHARED.parent / "soundscapes" / "maad_S4A03895_24h"
"""96 files of ten seconds, 22 kHz, FLAC."""

LARGER = ("STM32", "YAMNet", "Whisper tiny")
"""Encoders beside that of the demo."""

SECTIONS = ("throughput", "memory", "scaling", "season")


def throughput(n_files: int, rounds: int) -> list[dict[str, object]]:
    """CPU time of the libraries over that of the whole work, on the same chunks.

    In turns, in one process: the encoder's session alone; with libsndfile and soxr, each file in
    one go; and all. First the events are compared with those of one file after the other.
    """
    paths = sorted(RECORDINGS.glob("*.flac"))[:n_files]
    rows = [_throughput("demo encoder", open_bundle(DEMO_BUNDLE), paths, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        for card in probing_data.encoders(SHARED.parent, Path(folder)):
            name = str(card.provenance["name"])
            if name in LARGER:
                head = made_up.protobin(1, 20, 400, card.spec.grid.n_dims)
                bundle = made_up.bundle(card, head, Path(folder) / name)
                rows.append(_throughput(name, bundle, paths[: max(1, n_files // 4)], rounds))
    return rows


def _throughput(name: str, bundle: Bundle, paths: list[Path], rounds: int) -> dict[str, object]:
    entries = tuple(Entry(i, path.name, path.stat().st_size) for i, path in enumerate(paths))
    work = Work(str(RECORDINGS), str(bundle.path), bundle.sha256, "low-memory", None, timedelta(0))
    batch = Batch(0, entries)
    chunks, audio_s = _check(analyse_batch(work, batch), bundle, paths)
    session = ort.InferenceSession(str(bundle.graph_path), session_options("low-memory"))
    encoder, libraries, whole = [], [], []
    for _ in range(rounds):
        times = [process_time()]
        for samples in chunks:
            session.run(None, {bundle.encoder.input_name: samples[np.newaxis]})
        times.append(process_time())
        for path in paths:
            samples, rate_hz = sf.read(path, dtype="float32")
            soxr.resample(samples, rate_hz, bundle.encoder.sample_rate_hz)
        times.append(process_time())
        analyse_batch(work, batch)
        whole.append(process_time() - times[2])
        encoder.append((times[1] - times[0]) / whole[-1])
        libraries.append((times[2] - times[0]) / whole[-1])
    return {
        "encoder": name, "audio_s": audio_s, "rounds": rounds,
        "cpu_ms_per_audio_s": round(1000 * median(whole) / audio_s, 3),
        **_spread("encoder_share", encoder), **_spread("libraries_share", libraries),
    }  # fmt: skip


def _spread(name: str, values: list[float]) -> dict[str, object]:
    return {
        name: round(median(values), 3),
        f"{name}_spread": [round(min(values), 3), round(max(values), 3)],
    }


def _check(
    result: BatchResult, bundle: Bundle, paths: list[Path]
) -> tuple[list["np.ndarray[Any, Any]"], float]:
    """Chunks of the files and their seconds, once the result is found to be right."""
    analyser, chunks, audio_s = ChunkAnalyser(bundle), [], 0.0
    for path, found in zip(paths, result.files, strict=True):
        with AudioFile(path) as audio:
            chunker = Chunker(analyser.grid(audio.sample_rate_hz))
            classifier = RunClassifier(analyser, Run("", 0, audio.sample_rate_hz))
            events, own = [], []
            for block in audio:
                events += classifier.push(block)
                own += chunker.push(block)
            events += classifier.finish()
            chunks += [chunk.samples for chunk in own + chunker.finish()]
        assert [event.logit for event in events] == [event.logit for event in found.events]
        assert found.file.problem is None
        audio_s += found.file.classified_s
    return chunks, audio_s


def scaling(work: Path, rounds: int, n_repeats: int) -> dict[str, object]:
    """Seconds of the same work with one process and with all cores, in turns."""
    folder = archive_season.linked(work / "scaling", [RECORDINGS], n_repeats)
    counts = sorted({1, available_cores()})
    seconds: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(rounds):
        for n in counts:
            with tempfile.TemporaryDirectory(dir=work) as base:
                begun = monotonic()
                audio_s = _classified_s(folder, Path(base) / "out", n)
                seconds[n].append(monotonic() - begun)
    ratios = [one / many for one, many in zip(seconds[1], seconds[counts[-1]], strict=True)]
    return {
        "processes": counts, "audio_s": round(audio_s), "rounds": rounds,
        "wall_s": {str(n): [round(one, 2) for one in found] for n, found in seconds.items()},
        "speed_up": round(median(ratios), 2), "load_1_min": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _classified_s(folder: Path, out: Path, n_processes: int) -> float:
    request = Request(
        folder, out, open_bundle(DEMO_BUNDLE), utc_offset=timedelta(0), batch_bytes=1 << 20
    )

    def hire(work: Work, pace: Pace) -> Workers:
        return Pool(work, n_processes, pace)

    done = classify_folder(request, hire, StringIO())
    assert done is not None
    assert done.n_bad == 0
    return done.audio_s


def memory(counts: Iterable[int]) -> list[dict[str, object]]:
    """A process of its own for each number of files."""
    rows: list[dict[str, object]] = []
    for n_files in counts:
        command = [sys.executable, str(HERE / "archive_peak.py"), str(n_files)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows.append({"n_files": n_files, "peak_rss_mib": float(told)})
    return rows


def measure(name: str, work: Path, hours: float, smoke: bool) -> object:
    """One of `SECTIONS`."""
    match name:
        case "throughput":
            return throughput(*((2, 1) if smoke else (24, 9)))
        case "memory":
            return memory([100, 300] if smoke else [1_000, 10_000, 100_000])
        case "scaling":
            return scaling(work, *((1, 1) if smoke else (3, 15)))
        case _:
            return archive_season.measure(work, 0.02 if smoke else hours)


def main() -> None:
    """Measure, or play it through."""
    parser = argparse.ArgumentParser(description="A folder of recordings on this machine.")
    parser.add_argument("work", type=Path, nargs="?", metavar="WORK")
    parser.add_argument("--only", choices=SECTIONS, help="the others stay as they are")
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--smoke", action="store_true", help="short, write nothing")
    args = parser.parse_args()
    refuse_emulation()
    result = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as made:
        work = args.work or Path(made)
        work.mkdir(exist_ok=True)
        for name in [args.only] if args.only else SECTIONS:
            measured = measure(name, work, args.hours, args.smoke)
            result[name] = {"machine": machine(), "measured": measured}
    print(json.dumps(result, indent=1))
    if not args.smoke:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
