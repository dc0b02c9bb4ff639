"""Real encoders and real field audio: file, pipe and microphone give the same detections.

Needs the shared data folder; skips with the reason where it is absent.
"""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from support.virtual_microphone import VirtualMicrophone

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.spec import WindowSpec
from export.assemble import Job, fit_bundle
from export.card import read_card
from export.clips import Clip, ClipSet
from export.tokens import TokenCache
from export.train import HeadOptions

ENCODERS = {"yamnet": "yamnet_encoder_w8", "whisper": "whisper_tiny_en_encoder_f16w"}
KOUMURA_TRAINING = 24
"""Songs the heads learn from; the following ones are classified."""

CLASSES = 4
"""Syllable types; the rest of the song is background."""


def koumura_clips(folder: Path, seconds: float) -> ClipSet:
    """Windows of the first songs, labelled with the syllables inside them."""
    songs: dict[str, list[tuple[float, float, int]]] = {}
    with (folder / "annotations.csv").open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            times = float(row["onset_s"]), float(row["offset_s"])
            songs.setdefault(row["file"], []).append((*times, int(row["label"])))
    clips = []
    for name in [f"{number}.flac" for number in range(KOUMURA_TRAINING)]:
        path = next(folder.rglob(name))
        duration_s = sf.info(path).duration
        for start_s in np.arange(0, duration_s - seconds, 1.5 * seconds):
            inside = {
                label
                for onset, offset, label in songs.get(name, [])
                if label < CLASSES and onset >= start_s and offset <= start_s + seconds
            }
            labels = tuple(f"syllable {label}" for label in sorted(inside))
            clips.append(Clip(path, labels, name, float(start_s), float(start_s + seconds)))
    return ClipSet(tuple(clips), tuple(f"syllable {label}" for label in range(CLASSES)))


@pytest.fixture(scope="module", params=ENCODERS)
def bundle(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A head for Bengalese finch syllables on a shared encoder."""
    folder = tmp_path_factory.mktemp(request.param)
    card = read_card(shared / "encoders" / f"{ENCODERS[request.param]}.onnx")
    clips = koumura_clips(shared / "koumura_bird0", card.spec.chunk_s)
    job = Job(
        request.param, card, HeadOptions(epochs=8, prototypes_per_class=10), WindowSpec(1, 1, 0.0),
        seed=0, no_background=False,
    )  # fmt: skip
    return fit_bundle(
        clips, TokenCache(folder / "cache", card), job, folder / "b", replace=False
    ).bundle


def classify(*arguments: object, data: bytes | None = None) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", *map(str, arguments), "--json"],
        input=data, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    return [json.loads(line) | {"source": None} for line in done.stdout.decode().splitlines()]


def pcm_of(path: Path, tmp_path: Path) -> tuple[Path, bytes, int]:
    """The same 16-bit samples as a file and as bytes for a pipe."""
    samples, rate = sf.read(path, dtype="int16", always_2d=True)
    wav = tmp_path / "same.wav"
    sf.write(wav, samples[:, 0], rate)
    return wav, samples[:, 0].tobytes(), rate


def test_file_and_pipe_agree_on_field_audio(bundle: Bundle, shared: Path, tmp_path: Path) -> None:
    songs = [f"koumura_bird0/{n}.flac" for n in (100, 101)]
    found = 0
    for name in ("birdnet_soundscape_120s.flac", "perch_21100_36_48.flac", *songs):
        path = next(shared.rglob(Path(name).name))
        wav, data, rate = pcm_of(path, tmp_path)
        from_file = classify(wav, "--bundle", bundle.path)
        assert from_file == classify("-", "--bundle", bundle.path, "--rate", rate, data=data)
        found += len(from_file)
    assert found > 0


def test_syllables_are_found_where_they_were_annotated(bundle: Bundle, shared: Path) -> None:
    """On unseen songs most detections overlap an annotated syllable of their class."""
    window_s = bundle.encoder.chunk_s * bundle.windows.window_chunks
    right = total = 0
    with (shared / "koumura_bird0" / "annotations.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    for name in ("100.flac", "101.flac", "102.flac"):
        events = classify(next((shared / "koumura_bird0").rglob(name)), "--bundle", bundle.path)
        for event in events:
            total += 1
            right += any(
                row["file"] == name
                and event["label"] == f"syllable {row['label']}"
                and float(row["onset_s"]) < float(str(event["window_start_s"])) + window_s
                and float(row["offset_s"]) > float(str(event["window_start_s"]))
                for row in rows
            )
    assert total > 3
    assert right / total > 0.6


def test_band_is_null_without_a_frequency_axis(bundle: Bundle, shared: Path) -> None:
    song = next((shared / "koumura_bird0").rglob("100.flac"))
    for event in classify(song, "--bundle", bundle.path):
        known = bundle.encoder.grid.n_freq > 1
        assert (event["low_hz"] is not None) == known
        assert (event["high_hz"] is not None) == known


def test_microphone_and_saved_file_agree(bundle: Bundle, shared: Path, tmp_path: Path) -> None:
    if lacking := VirtualMicrophone.missing():
        pytest.skip(lacking)
    (tmp_path / "pulse").mkdir()
    microphone = VirtualMicrophone(tmp_path / "pulse", 32_000)
    song, _, rate = pcm_of(next((shared / "koumura_bird0").rglob("100.flac")), tmp_path)
    kept = tmp_path / "kept.wav"
    try:
        listener = subprocess.Popen(
            [sys.executable, "-m", "edge_probe", "listen", "--device", "fieldmic", "--json",
             "--rate", str(rate), "--duration", "14", "--save", str(kept),
             "--bundle", str(bundle.path)],
            env=microphone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        time.sleep(3)
        player = microphone.play(song)
        output, log = listener.communicate(timeout=60)
        player.kill()
        player.wait()
    finally:
        microphone.close()
    assert listener.returncode == 0, log.decode()
    assert b" 0 frames missing" in log
    unknown = {"source": None, "time_utc": None, "clock_trust": None}
    live = [json.loads(line) | unknown for line in output.decode().splitlines()]
    assert live
    assert live == [event | unknown for event in classify(kept, "--bundle", bundle.path)]


NOISES = ("white noise", "mains hum 50", "mains hum 60", "silence")
GAINS_DB = (-20, 0, 20)


def noise(kind: str, seconds: int, rate: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    time_s = np.arange(seconds * rate) / rate
    if kind == "white noise":
        return rng.normal(0, 0.03, len(time_s)).astype(np.float32)
    if kind == "silence":
        return np.zeros(len(time_s), np.float32)
    mains_hz = int(kind.split()[-1])
    hum = sum(np.sin(2 * np.pi * h * mains_hz * time_s) / h for h in range(1, 9))
    return (0.03 * np.asarray(hum) + rng.normal(0, 1e-4, len(time_s))).astype(np.float32)


def n_events(analyser: ChunkAnalyser, samples: np.ndarray, rate: int) -> int:
    classifier = RunClassifier(analyser, Run("run", 0, rate))
    return len(classifier.push(samples) + classifier.finish())


@pytest.mark.parametrize("gain_db", GAINS_DB)
@pytest.mark.parametrize("kind", NOISES)
def test_demo_bundle_is_quiet_on_noise(kind: str, gain_db: int) -> None:
    """Twenty minutes of each: at most one detection an hour means none."""
    analyser = ChunkAnalyser(open_bundle(DEMO_BUNDLE))
    samples = noise(kind, 1_200, 16_000) * np.float32(10 ** (gain_db / 20))
    assert n_events(analyser, samples, 16_000) == 0


@pytest.mark.parametrize("gain_db", GAINS_DB)
def test_demo_bundle_is_quiet_on_field_background(shared: Path, gain_db: int) -> None:
    """The recordings of odd hours, none of which took part in training: at most one an hour."""
    analyser = ChunkAnalyser(open_bundle(DEMO_BUNDLE))
    found, seconds = 0, 0.0
    for path in sorted((shared / "soundscapes" / "maad_S4A03895_24h").glob("*.flac")):
        if int(path.stem[-6:-4]) % 2 == 1:
            samples, rate = sf.read(path, dtype="float32")
            louder = np.clip(samples * 10 ** (gain_db / 20), -1, 1).astype(np.float32)
            found += n_events(analyser, louder, rate)
            seconds += len(samples) / rate
    assert seconds > 400
    assert found <= max(1, seconds / 3_600)
