"""Real encoders on real audio: file, pipe and microphone give the same detections.

Needs the shared data folder; skips with the reason where it is absent.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from support.koumura import RATE, Planted, SyllableWorld
from support.virtual_microphone import VirtualMicrophone, first_sample

from edge_probe.bundle import Bundle
from edge_probe.spec import WindowSpec
from export.assemble import Job, fit_bundle
from export.card import CARDS, EncoderCard, read_card
from export.commands.tokens import DEMO_ENCODER
from export.tokens import TokenCache
from export.train import HeadOptions, Recipe

SHARED_ENCODERS = {
    "yamnet": "yamnet_encoder_w8.onnx",  # D = 1024, two rows of frequency
    "whisper": "whisper_tiny_en_encoder_f16w.onnx",  # no frequency axis
}
NAMES = ("demo", *SHARED_ENCODERS)
GAP_S = 4.0

Event = dict[str, Any]


@pytest.fixture(scope="module")
def world(shared: Path) -> SyllableWorld:
    return SyllableWorld(shared)


def card_of(name: str, shared: Path) -> EncoderCard:
    if name == "demo":
        return read_card(DEMO_ENCODER, CARDS / "demo_encoder.toml")
    return read_card(shared / "encoders" / SHARED_ENCODERS[name])


LESSON = HeadOptions(
    prototypes_per_class=10, recipe=Recipe(15), sign_recipe=Recipe(15, learning_rate=3e-3)
)
LESSONS = {"demo": (HeadOptions(prototypes_per_class=20, recipe=Recipe(60)), "4")}
"""Where chunks begin in a live scene is chance, and at some phases the small demonstration encoder
takes one bout of the four for the other type: at 4 of 41 (1-bit tokens), 3 of 161 (this lesson)."""


@pytest.fixture(scope="module")
def bundles(
    shared: Path, world: SyllableWorld, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """The same lesson on three encoders."""
    made = {}
    for name in NAMES:
        folder = tmp_path_factory.mktemp(name)
        card = card_of(name, shared)
        options, precision = LESSONS.get(name, (LESSON, "1"))
        job = Job(
            name, card, options, WindowSpec(1, 1, 0.0),
            seed=0, no_background=False, candidates=(precision,),
        )  # fmt: skip
        clips = world.clips(folder, max(2.0, card.spec.chunk_s), n_per_class=40)
        cache = TokenCache(folder / "cache", card)
        made[name] = fit_bundle(clips, cache, job, folder / name, replace=False).bundle
    assert made["yamnet"].encoder.grid.n_dims == 1024
    assert made["whisper"].encoder.grid.n_freq == 1
    return made


def run(*arguments: object, data: bytes | None = None) -> list[Event]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", *map(str, arguments), "--json"],
        input=data, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    return [json.loads(line) | {"source": None} for line in done.stdout.decode().splitlines()]


def check_planted(
    events: list[Event], planted: list[Planted], window_s: float, may_miss: int = 0
) -> None:
    """Planted bouts have their detection within one window; few detections name anything else."""
    missed = [
        bout
        for bout in planted
        if not any(
            event["label"] == bout.label and bout.within(event["start_s"], event["end_s"], window_s)
            for event in events
        )
    ]
    assert len(missed) <= may_miss, missed
    right = [
        any(
            event["label"] == bout.label and bout.within(event["start_s"], event["end_s"], window_s)
            for bout in planted
        )
        for event in events
    ]
    assert np.mean(right) >= 0.75


@pytest.mark.parametrize("name", NAMES)
def test_file_and_pipe_agree_on_field_audio(
    name: str, bundles: dict[str, Bundle], shared: Path, world: SyllableWorld, tmp_path: Path
) -> None:
    soundscapes = [
        "birdnet_soundscape_120s.flac", "perch_21100_36_48.flac", "birdnetgo_tawnyowl_30s.flac",
        "maad_spinetail.flac",
    ]  # fmt: skip
    paths = [shared / "soundscapes" / each for each in soundscapes]
    found = 0
    for path in (*paths, world.song(100), world.song(101)):
        samples, rate = sf.read(path, dtype="int16", always_2d=True)
        sf.write(tmp_path / "same.wav", samples[:, 0], rate)
        from_file = run("classify", tmp_path / "same.wav", "--bundle", bundles[name].path)
        data = samples[:, 0].tobytes()
        piped = run("classify", "-", "--bundle", bundles[name].path, "--rate", rate, data=data)
        assert from_file == piped
        found += len(from_file)
        for event in from_file:
            has_band = bundles[name].encoder.grid.n_freq > 1
            assert (event["low_hz"] is not None) == has_band
            assert (event["high_hz"] is not None) == has_band
    assert found > 0


@pytest.mark.parametrize("name", NAMES)
def test_planted_syllables_are_found_in_a_file(
    name: str, bundles: dict[str, Bundle], world: SyllableWorld, tmp_path: Path
) -> None:
    """A head of few epochs misses at most one bout of twelve."""
    samples, planted = world.scene(12, GAP_S)
    sf.write(tmp_path / "scene.wav", samples, RATE)
    events = run("classify", tmp_path / "scene.wav", "--bundle", bundles[name].path)
    check_planted(events, planted, bundles[name].encoder.chunk_s, may_miss=1)


@pytest.fixture(scope="module")
def heard(
    bundles: dict[str, Bundle], world: SyllableWorld, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[list[Event], Path, str]]:
    """What three listeners on one virtual microphone say and keep while a scene is played."""
    if lacking := VirtualMicrophone.missing():
        pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("live")
    scene, _ = world.scene(4, GAP_S)
    sf.write(folder / "scene.wav", scene, RATE)
    (folder / "pulse").mkdir()
    microphone = VirtualMicrophone(folder / "pulse", RATE)
    try:
        listeners = {
            name: subprocess.Popen(
                [sys.executable, "-m", "edge_probe", "listen", "--device", "fieldmic", "--json",
                 "--rate", str(RATE), "--duration", "24", "--save", str(folder / f"{name}.wav"),
                 "--bundle", str(bundles[name].path)],
                env=microphone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for name in NAMES
        }  # fmt: skip
        time.sleep(4)
        player = microphone.play(folder / "scene.wav")
        said = {name: listener.communicate(timeout=90) for name, listener in listeners.items()}
        player.kill()
        player.wait()
    finally:
        microphone.close()
    for name, listener in listeners.items():
        assert listener.returncode == 0, said[name][1].decode()
    return {
        name: (
            [json.loads(line) | {"source": None} for line in output.decode().splitlines()],
            folder / f"{name}.wav",
            log.decode(),
        )
        for name, (output, log) in said.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_microphone_and_saved_file_agree(
    name: str, bundles: dict[str, Bundle], heard: dict[str, tuple[list[Event], Path, str]]
) -> None:
    live, kept, log = heard[name]
    assert " 0 frames missing" in log
    assert live
    unknown = {"time_utc": None, "clock_trust": None}
    again = run("classify", kept, "--bundle", bundles[name].path)
    assert [event | unknown for event in live] == [event | unknown for event in again]


@pytest.mark.parametrize("name", NAMES)
def test_planted_syllables_are_found_live(
    name: str,
    bundles: dict[str, Bundle],
    world: SyllableWorld,
    heard: dict[str, tuple[list[Event], Path, str]],
) -> None:
    """The saved recording tells when the scene began in it."""
    live, kept, _ = heard[name]
    scene, planted = world.scene(4, GAP_S)
    recording, _ = sf.read(kept, dtype="float32")
    assert len(recording) > len(scene)
    begin_s = first_sample(scene, recording) / RATE
    assert 0 < begin_s < 12
    moved = [Planted(p.label, p.start_s + begin_s, p.end_s + begin_s) for p in planted]
    check_planted(live, moved, bundles[name].encoder.chunk_s)
