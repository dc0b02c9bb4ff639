"""Boxes of planted tones, by the whole road, with an encoder of which every token is known.

Real encoders hear farther than their tokens: `benchmarks/bench_boxes.py` measures those.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from support.made_encoders import BAND_HZ, BANDS, HOP, RATE, SAMPLES, known_card

from edge_probe.bundle import Bundle, write_bundle
from edge_probe.bundle.verify import is_valid
from edge_probe.classify import ChunkAnalyser, Event, Run, RunClassifier
from edge_probe.encoder import Encoder
from edge_probe.head import FloatLinear, ProtobinHead
from edge_probe.head.packing import pack_signs
from edge_probe.spec import WindowSpec
from export.assemble import conformance_audio
from export.card import EncoderCard

STEP = 4 * HOP
N_ROWS = BANDS // 4
LEVEL = 0.1


@dataclass(frozen=True)
class Tone:
    begin: int
    end: int
    """Samples."""
    hz: float

    def on(self, n_samples: int) -> NDArray[np.float32]:
        at = np.arange(n_samples)
        inside = (self.begin <= at) & (at < self.end)
        sound: NDArray[np.float32] = (
            np.float32(LEVEL) * inside * np.sin(2 * np.pi * self.hz * at / RATE).astype(np.float32)
        )
        return sound


def band_tokens(card: EncoderCard) -> NDArray[np.float32]:
    """What each of the four bands of a row sounds like as a token, and silence: (5, D)."""
    encoder = Encoder(card.graph, card.spec, profile="fast")
    column, row = 5, 3
    index = column * N_ROWS + row
    tones = [Tone(0, SAMPLES, (4 * row + band + 1) * BAND_HZ) for band in range(4)]
    sounds = [*(tone.on(SAMPLES) for tone in tones), np.zeros(SAMPLES, np.float32)]
    return np.stack([encoder.tokens(sound)[index] for sound in sounds])


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One class, its prototypes the bands of a row; tones score above 0, silence far below."""
    folder = tmp_path_factory.mktemp("tones")
    card = known_card(folder / "made.onnx")
    *bands, silence = band_tokens(card)
    between = (np.mean(bands, axis=0) + silence) / 2
    head = ProtobinHead(
        pack_signs(np.sign(np.stack(bands) - between)), between.astype(np.float32), 8,
        FloatLinear(np.ones((1, 4), np.float32), np.zeros(1)), np.zeros(4, np.float32),
    )  # fmt: skip
    return write_bundle(
        folder / "bundle", name="tones", created_utc="2026-01-02T03:04:05Z", encoder=card.spec,
        graph=card.graph, provenance=card.provenance, head=head, windows=WindowSpec(2, 1, 0.0),
        labels=["tone"], threshold_on=[0.0], threshold_off=[0.0], calibration=None,
        conformance_audio=conformance_audio(card.spec), tool="a test", verify=is_valid,
        training={"background_clips": 0, "no_background": False},
    )  # fmt: skip


def scene_of(tones: list[Tone], n_samples: int) -> NDArray[np.float32]:
    scene = np.zeros(n_samples, np.float32)
    for tone in tones:
        scene += tone.on(n_samples)
    return scene


def heard(bundle: Bundle, samples: NDArray[np.float32]) -> list[Event]:
    classifier = RunClassifier(ChunkAnalyser(bundle), Run("scene", 0, RATE))
    return classifier.push(samples) + classifier.finish()


def test_the_box_of_a_tone_is_the_tone_to_one_column_and_one_row(tones: Bundle) -> None:
    """Tones of one to eight columns, anywhere, over borders of chunks and windows."""
    rng = np.random.default_rng(0)
    n_tones, gap = 40, 4 * SAMPLES
    planted = []
    for n in range(n_tones):
        length = int(rng.integers(STEP, 8 * STEP))
        begin = n * gap + int(rng.integers(SAMPLES, 2 * SAMPLES))
        planted.append(Tone(begin, begin + length, float(rng.uniform(4, BANDS - 3)) * BAND_HZ))
    scene = scene_of(planted, n_tones * gap)
    scene += rng.normal(0, 1e-4, len(scene)).astype(np.float32)
    events = heard(tones, scene)
    assert len(events) == n_tones
    column_s = STEP / RATE
    for tone, event in zip(planted, events, strict=True):
        begin_s, end_s = tone.begin / RATE, tone.end / RATE
        assert begin_s - column_s < event.start_s < end_s, (tone, event)
        assert begin_s < event.end_s < end_s + column_s, (tone, event)
        assert event.low_hz is not None
        assert event.high_hz is not None
        assert event.low_hz - BAND_HZ <= tone.hz <= event.high_hz + BAND_HZ, (tone, event)
        assert event.high_hz - event.low_hz <= 2 * 4 * BAND_HZ, "not higher than it must be"


def test_the_box_of_a_tone_that_fills_a_column_is_that_column(tones: Bundle) -> None:
    columns = [(3, 4), (9, 0), (15, 15), (22, 8)]  # of a chunk
    planted = [
        Tone((n := SAMPLES * chunk + STEP * column), n + STEP, 13.0 * BAND_HZ)
        for chunk, column in columns
    ]
    found = [
        (event.start_s, event.end_s) for event in heard(tones, scene_of(planted, 26 * SAMPLES))
    ]
    np.testing.assert_allclose(found, [(tone.begin / RATE, tone.end / RATE) for tone in planted])
