r"""How much speech a private class takes out of kept segments: espeak-ng over field audio.

python benchmarks/bench_privacy.py           results/privacy.json and the table of disk/README.md
python benchmarks/bench_privacy.py --smoke   a small part, printed, for the tests

Clips are written, heads are fitted by ``edge-export fit``, and scenes go through the recorder's
store, classifier process and chores. Needs espeak-ng and the shared data folder. Interrupted, the
same command goes on from the work folder; remove it after a change.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import field_audio
import numpy as np
import privacy_clips
import privacy_road
import speech
from privacy_figures import Outcome, figures, outcome, render
from scenes import Scene, placements, scene
from table import put

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", HERE.parents[1] / "shared")) / "data"
CARD = HERE.parent / "export" / "cards" / "yamnet_encoder_w8.toml"
YAMNET = ["--encoder", SHARED / "encoders" / "yamnet_encoder_w8.onnx", "--card", CARD]
ENCODERS: dict[str, list[Any]] = {"YAMNet": YAMNET, "demo encoder": []}


@dataclass(frozen=True, slots=True)
class Setting:
    """What an owner may choose: of ``edge-export fit`` and of ``edge-probe run``."""

    name: str
    favour: str
    margin_s: float


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done."""

    heads: Sequence[tuple[str, Setting]]
    """Encoder, and what an owner chose."""
    levels_db: Sequence[float]
    n_backgrounds: int | None
    """None: all of them."""
    n_placements: int
    n_speech_clips: int
    n_of_class: int
    fit: Sequence[str]
    """More words for ``edge-export fit``."""


SHIPPED = Setting("defaults", "balance", 5.0)
STRICT = Setting("strict", "recall", 15.0)
LIGHT = ("--head", "protobin", "--bits", "4", "--prototypes-per-class", "10", "--epochs", "15")
"""One head, instead of a contest of heads, and half of its training: minutes, not an hour."""

FULL = Size(
    (("YAMNet", SHIPPED), ("YAMNet", STRICT), ("demo encoder", SHIPPED)),
    (-10.0, -5.0, 0.0, 5.0, 10.0), None, 1, 72, 40, LIGHT,
)  # fmt: skip
SMOKE = Size((("demo encoder", SHIPPED),), (10.0,), 2, 1, 24, 4, LIGHT)
SEED = 0


def main() -> None:
    """Fit, record, count, keep."""
    parser = argparse.ArgumentParser(description="How much speech a private class takes out.")
    parser.add_argument("--smoke", action="store_true", help="a small part, written nowhere")
    parser.add_argument("--work", type=Path, default=Path("privacy_work"), metavar="DIR")
    args = parser.parse_args()
    size: Size = SMOKE if args.smoke else FULL
    result = measure(size, args.work)
    text = json.dumps(result, indent=1) + "\n"
    if args.smoke:
        print(text)
        return
    (HERE / "results" / "privacy.json").write_text(text, encoding="utf-8")
    put(HERE.parent / "edge_probe" / "disk" / "README.md", render(result))


def measure(size: Size, work: Path) -> dict[str, Any]:
    """Everything, as it is kept."""
    synthesiser = speech.version()
    clips = work / "clips" / "clips.csv"
    if not clips.is_file():
        shutil.rmtree(clips.parent, ignore_errors=True)
        privacy_clips.write_clips(
            SHARED, clips.parent, n_speech=size.n_speech_clips, n_of_class=size.n_of_class,
            seed=SEED,
        )  # fmt: skip
    heads = [_fit(clips, work, encoder, setting, size.fit) for encoder, setting in size.heads]
    conditions = list(_conditions(size))
    rows = [row for head in heads for row in _rows(head, conditions)]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "synthesiser": synthesiser,
        "label": privacy_clips.LABEL,
        "training_snr_db": privacy_clips.SNR_DB,
        "fit_words": size.fit,
        "heads": [{key: head[key] for key in head if key != "bundle"} for head in heads],
        "rows": rows,
    }


def _fit(
    clips: Path, work: Path, encoder: str, setting: Setting, more: Sequence[str]
) -> dict[str, Any]:
    """A bundle by the command that users have, and what it said."""
    bundle = work / f"{encoder} {setting.name}".replace(" ", "_")
    said = bundle.with_suffix(".txt")
    if not said.is_file():
        command = [sys.executable, "-m", "export", "fit", clips, "--out", bundle, "--replace",
                   "--cache", work / "cache", "--favour", setting.favour,
                   *ENCODERS[encoder], *more]  # fmt: skip
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"edge-export fit failed: {done.stderr}")
        said.write_text(done.stdout, encoding="utf-8")
    return {
        "encoder": encoder, "setting": setting.name, "favour": setting.favour,
        "margin_s": setting.margin_s, "bundle": bundle,
        "fit": said.read_text(encoding="utf-8").splitlines()[1:],
    }  # fmt: skip


def _conditions(size: Size) -> Iterator[tuple[float | None, list[Scene]]]:
    """Scenes of each level, the same words at the same places; then without anybody."""
    random = np.random.default_rng([SEED, 1])
    lines = iter(speech.lines("test", random))
    backgrounds = field_audio.tests(SHARED)[: size.n_backgrounds]
    placed = [
        (background, placements(lines, len(background.samples), random))
        for background, _ in itertools.product(backgrounds, range(size.n_placements))
    ]
    for level in size.levels_db:
        yield level, [scene(background, words, level) for background, words in placed]
    yield None, [scene(background, (), 0.0) for background in backgrounds]


def _rows(
    head: dict[str, Any], conditions: Sequence[tuple[float | None, list[Scene]]]
) -> list[dict[str, Any]]:
    """Figures of a head at each level: of all clips, and by whether their site was heard."""
    known: Path = head["bundle"].with_suffix(".rows.json")
    rows: list[dict[str, Any]] = []
    if known.is_file():
        rows = json.loads(known.read_text(encoding="utf-8"))
    for level, scenes in conditions:
        if any(row["snr_db"] == level for row in rows):
            continue
        outcomes = _through(head, scenes)
        for site in ("all", *sorted({one.site for one in outcomes})):
            chosen = [one for one in outcomes if site in ("all", one.site)]
            rows.append({
                "encoder": head["encoder"], "setting": head["setting"], "snr_db": level,
                "site": site, **figures(chosen),
            })  # fmt: skip
        known.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def _through(head: dict[str, Any], scenes: Sequence[Scene]) -> list[Outcome]:
    """Record, classify, overwrite, count."""
    state: Path = head["bundle"].with_suffix(".state")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    pcm = [one.pcm for one in scenes]
    privacy_road.record(state, pcm)
    privacy_road.classify(state, head["bundle"], privacy_clips.LABEL)
    privacy_road.silence(state, head["margin_s"])
    outcomes = [
        outcome(one, is_kept)
        for one, is_kept in zip(scenes, privacy_road.kept(state, pcm), strict=True)
    ]
    shutil.rmtree(state)
    return outcomes


if __name__ == "__main__":
    main()
