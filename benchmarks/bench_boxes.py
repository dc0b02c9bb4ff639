"""How tight boxes are: planted tones, and labelled syllables, in time and in frequency.

``python benchmarks/bench_boxes.py [SHARED_DATA]``, three minutes of one core. Heads learn from
clips that only say what is in them; where it is, they are never told.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import box_table  # noqa: E402
import numpy as np  # noqa: E402
import table  # noqa: E402
from box_scores import Score, Sound, figures, scores, spread  # noqa: E402
from machine import machine  # noqa: E402
from planted import (  # noqa: E402
    FIRST_TEST_SONG,
    Background,
    Bouts,
    Draw,
    Field,
    Samples,
    clips,
    hiss,
    scene,
    tone,
)  # fmt: skip
from support.koumura import RATE, TYPES  # noqa: E402
from support.made_encoders import BAND_HZ, known_card  # noqa: E402

from edge_probe.bundle import Bundle  # noqa: E402
from edge_probe.classify import ChunkAnalyser, Event, Run, RunClassifier  # noqa: E402
from edge_probe.spec import EncoderSpec, WindowSpec  # noqa: E402
from export.assemble import Job, fit_bundle  # noqa: E402
from export.card import CARDS, EncoderCard, read_card  # noqa: E402
from export.commands.tokens import DEMO_ENCODER  # noqa: E402
from export.tokens import TokenCache  # noqa: E402
from export.train import HeadOptions, Recipe  # noqa: E402
from export.train.fit import FLOAT_RECIPE  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "boxes.json"

WINDOWS = WindowSpec(2, 1, 0.0)
"""What `edge-export fit` makes of them unless told otherwise."""

PROTOTYPES = 20
"""Of a class, as `edge-export fit` has them."""

MADE = "made"
"""The encoder of which it is known by construction what each token hears."""


def cards(shared: Path, work: Path) -> dict[str, EncoderCard]:
    """Encoders by name."""
    return {
        MADE: known_card(work / "made.onnx"),
        "demo": read_card(DEMO_ENCODER, CARDS / "demo_encoder.toml"),
        "YAMNet": read_card(shared / "encoders" / "yamnet_encoder_w8.onnx"),
    }


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a head is taught, and what it is asked then."""

    name: str
    taught: Sequence[Draw]
    asked: Mapping[str, Draw]
    background: tuple[Background, Background]
    """Of clips and of scenes: other recordings."""


def lessons(shared: Path) -> tuple[Lesson, Lesson, Lesson]:
    """Tones in white noise; tones in the field; syllables in the field, other songs asked."""
    field = Field(shared, 0), Field(shared, 4)
    songs, unheard = range(FIRST_TEST_SONG), range(FIRST_TEST_SONG, 135)
    kinds = ("single syllables", (1, 1)), ("bouts", (2, 20))
    asked = {name: Bouts(shared, TYPES, unheard, n) for name, n in kinds}
    taught = [Bouts(shared, TYPES, songs, n) for _, n in kinds]
    return (
        Lesson("tones in white noise", [tone], {"tones in white noise": tone}, (hiss, hiss)),
        Lesson("tones", [tone], {"tones": tone}, field),
        Lesson("syllables", taught, asked, field),
    )


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    encoders: Sequence[str]
    n_sounds: int
    """Of each kind that is asked."""
    n_clips: int
    recipe: Recipe


FULL = Size((MADE, "demo", "YAMNet"), 200, 240, FLOAT_RECIPE)
SMOKE = Size((MADE, "demo"), 20, 120, Recipe(epochs=5))


def taught(
    card: EncoderCard, lesson: Lesson, n_clips: int, folder: Path, recipe: Recipe = FLOAT_RECIPE
) -> Bundle:
    """A bundle as `edge-export fit` would make it, of 4-bit tokens."""
    folder.mkdir()
    seconds = max(2.0, WINDOWS.window_chunks * card.spec.chunk_s)
    made = clips(lesson.taught, lesson.background[0], folder, seconds, n_clips)
    options = HeadOptions(prototypes_per_class=PROTOTYPES, recipe=recipe)
    job = Job("boxes", card, options, WINDOWS, seed=0, no_background=False, candidates=("4",))
    cache = TokenCache(folder / "cache", card, workers=1)
    return fit_bundle(made, cache, job, folder / "bundle", replace=False).bundle


def heard(bundle: Bundle, samples: Samples) -> list[Event]:
    """All detections, by the road of every command."""
    classifier = RunClassifier(ChunkAnalyser(bundle, "fast"), Run("scene", 0, RATE))
    events = [
        event
        for first in range(0, len(samples), RATE)
        for event in classifier.push(samples[first : first + RATE])
    ]
    return events + classifier.finish()


def check_known(spec: EncoderSpec, sounds: Sequence[Sound], told: Sequence[Score | None]) -> None:
    """Where it is known what a token hears, boxes lie where the tone is, to a column and a row.

    One in ten may reach to a token elsewhere: half of the evidence is not always in one place.
    """
    column_s = spec.grid.step_samples / spec.sample_rate_hz
    found = [(sound, score) for sound, score in zip(sounds, told, strict=True) if score]
    assert len(found) >= 0.9 * len(sounds), f"{len(found)} of {len(sounds)} tones were heard"
    assert all(score.iou > 0 for _, score in found)
    right = [
        score.onset_s >= -column_s
        and score.offset_s <= column_s
        and score.outside_octaves is not None
        and score.outside_octaves <= log2(1 + BAND_HZ / (sound.hz or BAND_HZ))
        for sound, score in found
    ]
    assert np.mean(right) >= 0.9, f"{np.mean(right):.0%} of the boxes are where the tone is"


def ask(name: str, bundle: Bundle, lesson: Lesson, n_sounds: int) -> Iterator[dict[str, object]]:
    """One row per kind of sound that is asked."""
    spec = bundle.encoder
    window_s = WINDOWS.window_chunks * spec.chunk_s
    for kind, draw in lesson.asked.items():
        samples, sounds = scene(draw, lesson.background[1], n_sounds)
        told, n_elsewhere = scores(sounds, heard(bundle, samples), spec, window_s)
        assert all(score.iou <= score.grid_iou + 1e-9 for score in told if score)
        if name == MADE:
            check_known(spec, sounds, told)
        lengths_s = [sound.end_s - sound.start_s for sound in sounds]
        yield {
            "encoder": name, "sounds": kind,
            "column_ms": round(1000 * spec.grid.step_samples / spec.sample_rate_hz),
            "rows": spec.grid.n_freq, "window_ms": round(1000 * window_s),
            "n_syllables": sum(sound.n_syllables for sound in sounds),
            "length_ms": spread(lengths_s, 1000, 0), **figures(told, n_elsewhere),
        }  # fmt: skip


def measure(shared: Path, work: Path, size: Size) -> list[dict[str, object]]:
    """One row per encoder and kind of sound."""
    plain, tones, syllables = lessons(shared)
    rows: list[dict[str, object]] = []
    made = cards(shared, work)
    for name in size.encoders:
        card = made[name]
        for lesson in (plain,) if name == MADE else (tones, syllables):
            folder = work / f"{name} {lesson.name}"
            bundle = taught(card, lesson, size.n_clips, folder, size.recipe)
            for row in ask(name, bundle, lesson, size.n_sounds):
                print(json.dumps(row), file=sys.stderr, flush=True)
                rows.append(row)
    return rows


def main() -> int:
    """Measure all."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="a few of each, write nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args.data, Path(folder), SMOKE if args.smoke else FULL)
    result = {"machine": machine(), "rows": rows}
    print(json.dumps(result, indent=1))
    if not args.smoke:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        table.put(box_table.README, box_table.render(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
