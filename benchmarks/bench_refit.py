r"""What twenty corrections are worth to a class that a head confuses.

python benchmarks/bench_refit.py            results/refit.json
python benchmarks/bench_refit.py --smoke    one class, fewer songs, printed, for the tests

For each seed: ``edge-export fit`` on eight songs of one Bengalese finch (Koumura, YAMNet tokens);
forty other songs through the recorder's ring, segments and classifier process; the classes that
this bundle ranks worst there. Of each: twenty chunks whose scores were kept, drawn by chance among
those that reach its off-threshold (detections and near misses; the sixty best where these are
fewer), with the data set's labels as the reviewer; what ``edge-export refit`` does with them;
average precision on songs that nobody heard, chunk by chunk.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
import privacy_road
import soundfile as sf
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.capture.segment import Format
from edge_probe.desk.corrections import read_corrections
from edge_probe.head import PrototypeHead
from edge_probe.head.vectors import from_int16
from edge_probe.spec import WindowSpec
from export.card import read_card
from export.clips import Clip, write_manifest
from export.material import targets_of
from export.metrics import quality
from export.noise_gate import NoiseGateError
from export.refit.refit import WorseError, learn, refuse_if_worse, write
from export.thresholds import highest_logits
from export.tokens import TokenCache

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", HERE.parents[1] / "shared")) / "data"
RESULT = HERE / "results" / "refit.json"
ENCODER, CARD = SHARED / "encoders" / "yamnet_encoder_w8.onnx", HERE / "cards" / "yamnet.toml"
SONGS = SHARED / "koumura_bird0"

FORMAT = Format(32_000, 1, 2)
CHUNK_S = 0.975
N_SONGS, FIRST_TEST_SONG = 135, 95
N_TRAINING = 8
N_CORRECTIONS, N_CANDIDATES = 20, 60
"""And at least so many they are drawn from."""
FIT = ("--bits", "8", "--prototypes-per-class", "10", "--window-chunks", "1")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    n_seeds: int = 5
    n_classes: int = 2
    """Of each seed."""
    n_field: int = 40
    """Songs that the recorder hears."""
    n_test: int = N_SONGS - FIRST_TEST_SONG
    fit: Sequence[str] = ()
    """More words for ``edge-export fit``."""


SMOKE = Size(1, 1, 5, 3, ("--epochs", "5"))


@dataclass(frozen=True, slots=True)
class Song:
    """Chunks of a song, and which syllables are in each."""

    number: int
    clips: tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class Gain:
    """Average precision on songs that nobody heard, in percent."""

    seed: int
    label: str
    n_heard: int
    """Of the corrections, those that say that it is there."""
    before: float
    after: float
    others_before: float
    """Mean of the other classes."""
    others_after: float
    f1_before: float
    """Of the class, at its threshold."""
    f1_after: float
    refused: str
    """Why there is no new bundle: ``after`` is then as before."""
    cpu_s: float
    """Of learning, judging and writing; start and imports of a process are apart."""
    command_cpu_s: float
    """Of the command, these included."""


def songs() -> list[Song]:
    """A syllable is in the chunk that has half of it."""
    with (SONGS / "annotations.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for number in range(N_SONGS):
        path = SONGS / "audio" / f"{number}.flac"
        own = [row for row in rows if row["file"] == path.name]
        clips = []
        for n in range(int(sf.info(path).duration / CHUNK_S)):
            begin, end = n * CHUNK_S, (n + 1) * CHUNK_S
            heard = {row["label"] for row in own if _half_inside(row, begin, end)}
            clips.append(Clip(path, tuple(sorted(heard)), path.stem, begin, end))
        found.append(Song(number, tuple(clips)))
    return found


def _half_inside(row: dict[str, str], begin: float, end: float) -> bool:
    onset, offset = float(row["onset_s"]), float(row["offset_s"])
    return min(end, offset) - max(begin, onset) >= (offset - onset) / 2


class Judgement(NamedTuple):
    """Of each class, in percent."""

    average_precision: NDArray[np.float64]
    f1: NDArray[np.float64]
    """At the bundle's threshold."""


class Judge:
    """How well a bundle tells the classes of chunks.

    Parameters
    ----------
    chosen : sequence of Song
    cache : TokenCache
    labels : sequence of str
    """

    def __init__(self, chosen: Sequence[Song], cache: TokenCache, labels: Sequence[str]) -> None:
        encoded = cache.encode([clip for song in chosen for clip in song.clips], "encode")
        self._tokens = encoded.tokens
        self._targets = targets_of(encoded.clips, labels)

    def judge(self, bundle: Bundle) -> Judgement:
        """A window is a chunk."""
        spec = WindowSpec(1, 1, 0.0)
        logits = np.stack([highest_logits(bundle.head, one, spec) for one in self._tokens])
        heard, present = logits >= bundle.threshold_on, self._targets > 0
        f1 = 200 * (heard & present).sum(axis=0) / (heard.sum(axis=0) + present.sum(axis=0))
        return Judgement(100 * quality(logits, self._targets).average_precision, f1)


def one_seed(
    seed: int, everything: Sequence[Song], cache: TokenCache, folder: Path, size: Size
) -> Iterator[Gain]:
    """A bundle, its field, and its worst classes."""
    drawn = np.random.default_rng(seed).permutation(FIRST_TEST_SONG)
    training = [everything[n] for n in drawn[:N_TRAINING]]
    field = [everything[n] for n in sorted(drawn[N_TRAINING:][: size.n_field])]
    table = folder / "training.csv"
    write_manifest([clip for song in training for clip in song.clips], table)
    _export("fit", table, "--encoder", ENCODER, "--card", CARD, "--cache", folder.parent / "cache",
            "--out", folder / "parent", "--seed", seed, *FIT, *size.fit)  # fmt: skip
    parent = open_bundle(folder / "parent")
    state = folder / "state"
    pcm = [sf.read(song.clips[0].path, dtype="int16")[0] for song in field]
    state.mkdir()
    privacy_road.record(state, pcm, FORMAT)
    privacy_road.classify(state, parent.path)
    labels = [label.text for label in parent.labels]
    there = Judge(field, cache, labels).judge(parent).average_precision
    test = Judge(everything[FIRST_TEST_SONG:][: size.n_test], cache, labels)
    before = test.judge(parent)
    for number in np.argsort(there)[: size.n_classes]:
        label = labels[number]
        entries = corrections(parent, state, field, int(number), seed)
        file = folder / f"{label}.json"
        file.write_text(json.dumps(_as_file(entries)), encoding="utf-8")
        out = folder / f"child {label}"
        refused, cpu_s = _refit(parent, state, file, out)
        after = before if refused else test.judge(open_bundle(out))
        rest = np.arange(len(labels)) != number
        yield Gain(
            seed, label, sum(one["verdict"] == "correct" for one in entries),
            float(before.average_precision[number]), float(after.average_precision[number]),
            float(before.average_precision[rest].mean()),
            float(after.average_precision[rest].mean()),
            float(before.f1[number]), float(after.f1[number]), refused, cpu_s,
            command_cpu_s(parent.path, state, file, folder / "again"),
        )  # fmt: skip
        shutil.rmtree(folder / "again", ignore_errors=True)


def corrections(
    bundle: Bundle, state: Path, field: Sequence[Song], number: int, seed: int
) -> list[dict[str, Any]]:
    """What the reviewer says of chunks that the recorder kept the scores of."""
    head, label = bundle.head, bundle.labels[number].text
    assert isinstance(head, PrototypeHead)
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        kept = db.execute(
            "SELECT stream, n, first_frame, n_frames, steps, scores FROM chunk_scores"
            " JOIN chunk USING (bundle, stream, run_frame, n, channel) WHERE stream <= ?"
            " ORDER BY stream, n", (len(field),),
        ).fetchall()  # fmt: skip
    whole = [one for one in kept if one[1] < len(field[one[0] - 1].clips)]
    logits = [
        head.linear.logits(from_int16(np.frombuffer(data, "<i2"), steps))[number]
        for *_, steps, data in whole
    ]
    reached = int(np.sum(np.array(logits) >= bundle.threshold_off[number]))
    best = np.argsort(-np.array(logits), kind="stable")[: max(reached, N_CANDIDATES)]
    chosen = np.random.default_rng(seed).choice(best, N_CORRECTIONS, replace=False)
    now = _utc()
    return [
        {
            "deployment_id": "", "bundle_sha256": bundle.sha256, "boot": 1, "stream": stream,
            "channel": 0, "start_sample": first, "end_sample": first + n_frames,
            "rate_hz": FORMAT.rate_hz, "label": label, "other_label": None,
            "verdict": "correct" if label in field[stream - 1].clips[n].labels else "wrong",
            "logit": float(logits[at]), "draw": "detection", "probability": None,
            "reviewed_utc": now,
        }
        for at in sorted(chosen.tolist())
        for stream, n, first, n_frames, *_ in (whole[at],)
    ]  # fmt: skip


def _as_file(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"format": "edge-probe corrections", "version": 1, "made_utc": _utc(),
            "reviewer": "Koumura", "corrections": entries}  # fmt: skip


def _utc() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refit(parent: Bundle, state: Path, file: Path, out: Path) -> tuple[str, float]:
    """Why it was refused, or nothing, and CPU seconds; as the command does it."""
    began_s = time.process_time()
    try:
        candidate = learn(parent, state, read_corrections([file]))
        refuse_if_worse(candidate)
        write(candidate, out)
    except (WorseError, NoiseGateError) as error:
        return error.message, time.process_time() - began_s
    return "", time.process_time() - began_s


def command_cpu_s(parent: Path, state: Path, file: Path, out: Path) -> float:
    """Of ``edge-export refit``, start and imports included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run("refit", parent, state, file, "-o", out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _export(*words: object) -> None:
    done = _run(*words)
    if done.returncode:
        raise SystemExit(done.stderr)


def _run(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "export", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def summary(gains: Sequence[Gain]) -> dict[str, Any]:
    """Medians and spreads."""
    gain = np.array([one.after - one.before for one in gains])
    f1_gain = np.array([one.f1_after - one.f1_before for one in gains])
    fall = np.array([one.others_before - one.others_after for one in gains])
    return {
        "gain_median": round(float(np.median(gain)), 2),
        "gain_mean": round(float(gain.mean()), 2),
        "gain_min": round(float(gain.min()), 2),
        "gain_max": round(float(gain.max()), 2),
        "f1_gain_median": round(float(np.median(f1_gain)), 2),
        "f1_gain_min": round(float(f1_gain.min()), 2),
        "f1_gain_max": round(float(f1_gain.max()), 2),
        "n_better": int((gain > 0).sum()),
        "n_refused": sum(bool(one.refused) for one in gains),
        "n": len(gains),
        "others_fall_max": round(float(fall.max()), 3),
        "cpu_s_max": round(max(one.cpu_s for one in gains), 1),
        "command_cpu_s_max": round(max(one.command_cpu_s for one in gains), 1),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--work", type=Path, help="keep token cache and bundles there")
    args = parser.parse_args()
    size = SMOKE if args.smoke else Size()
    everything = songs()
    gains: list[Gain] = []
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(exist_ok=True)
        # Workers would each load all of this: longer than they encode.
        cache = TokenCache(work / "cache", read_card(ENCODER, CARD), workers=1)
        for seed in range(size.n_seeds):
            with tempfile.TemporaryDirectory(dir=work) as folder:
                for gain in one_seed(seed, everything, cache, Path(folder), size):
                    print(gain, file=sys.stderr, flush=True)
                    gains.append(gain)
    told = summary(gains)
    print(json.dumps(told))
    if not args.smoke:
        rows = [{name: getattr(one, name) for name in Gain.__slots__} for one in gains]
        result = {"machine": machine.machine(), "corrections": N_CORRECTIONS, **told, "runs": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
