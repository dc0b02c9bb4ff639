"""From a recorder in the field to a better bundle: every step, as its owner takes it.

The bundle knows two syllables of a finch and takes a third, which it was never told of, for one of
them. The recorder hears all; somebody listens to ten of its detections; the bundle that learns from
them ranks the two apart in songs that neither it nor anybody heard before.

Needs the shared data folder, a virtual microphone and a browser; 70 s of sound play in real time.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray
from support.browser import Browser, browser
from support.koumura import RATE, Planted, SyllableWorld
from support.live_recorder import LiveRecorder
from support.virtual_microphone import VirtualMicrophone, first_sample

from edge_probe.analysis.backlog import behind_s
from edge_probe.bundle import Bundle, open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.cli import main
from edge_probe.desk.archive import open_archive
from edge_probe.desk.corrections import read_corrections
from edge_probe.spec import WindowSpec
from export.assemble import Job, fit_bundle
from export.card import read_card
from export.cli import main as export
from export.metrics import quality, resampled_maps
from export.tokens import TokenCache
from export.train import HeadOptions, Recipe

pytestmark = pytest.mark.live

TAUGHT, CONFUSER, ALSO_TAUGHT = "7", "0", "5"
LABEL = f"syllable {TAUGHT}"

FIELD, HELD_OUT = range(60, 100), range(100, 135)
"""Songs; those before are for training."""

N_SCENES = 2
"""A stream each: windows of one minute of a stream are never parted when `refit` holds some out."""

N_BOUTS, GAP_S = 14, 2.4
N_HELD_OUT_BOUTS = 120

STARTS_S = 0.2
"""Of silence that a player may put in place of its first sound; no bout is so early."""

LESSON = HeadOptions(prototypes_per_class=100, recipe=Recipe(15))

N_CLICKS = 10

MIN_HEARD_S = 0.04
"""Of a bout in a window; of less nobody can say what it is."""

LEAST_GAIN = 0.1
"""Of average precision, 0 to 1. Where windows begin in a live scene is chance."""

Scene = tuple[NDArray[np.float32], list[Planted]]


@pytest.fixture(scope="module")
def world(shared: Path) -> SyllableWorld:
    return SyllableWorld(shared)


@pytest.fixture
def microphone(tmp_path: Path) -> Iterator[VirtualMicrophone]:
    if lacking := VirtualMicrophone.missing():
        pytest.skip(lacking)
    (tmp_path / "pulse").mkdir()
    plugged = VirtualMicrophone(tmp_path / "pulse", RATE)
    yield plugged
    plugged.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "downloads").mkdir()
    with browser(tmp_path / "downloads") as found:
        yield found


def test_ten_clicks_make_a_better_bundle(
    shared: Path, world: SyllableWorld, microphone: VirtualMicrophone, desk: Browser,
    tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    parent = fitted(shared, world, tmp_path)
    scenes = [
        world.scene(N_BOUTS, GAP_S, (TAUGHT, CONFUSER), FIELD, seed) for seed in range(N_SCENES)
    ]
    record(microphone, tmp_path, parent, scenes)
    archive, report, child = (tmp_path / name for name in ("archive", "report", "child"))
    assert main(["collect", str(tmp_path / "state"), "-o", str(archive)]) == 0
    assert main(["report", str(archive), "-o", str(report), "--per-class", "20"]) == 0

    clicked, file = review(desk, report / "index.html", whereabouts(archive, scenes))
    assert Counter(clicked.values()) == {"correct": N_CLICKS // 2, "wrong": N_CLICKS // 2}
    said = read_corrections([file])
    assert {(one.stream, one.start_sample): one.verdict for one in said} == clicked
    assert {one.deployment_id for one in said} == {"aviary-1"}
    assert {(one.label, one.bundle_sha256) for one in said} == {(LABEL, parent.sha256)}
    # one entry more for a window that the recorder drew, too
    as_detections = {(one.stream, one.start_sample) for one in said if one.draw == "detection"}
    assert as_detections == clicked.keys()

    capfd.readouterr()
    assert export(["refit", str(parent.path), str(archive), str(file), "-o", str(child)]) == 0
    assert f"learned   from {N_CLICKS} windows" in capfd.readouterr().out
    assert main(["selftest", str(child)]) == 0
    better = open_bundle(child)
    assert better.manifest.training["parent"] == parent.sha256
    assert better.manifest.release == parent.manifest.release + 1
    types = (TAUGHT, CONFUSER, ALSO_TAUGHT)
    held_out = world.scene(N_HELD_OUT_BOUTS, GAP_S, types, HELD_OUT, seed=N_SCENES)
    before, after, chance = average_precisions(parent, better, held_out)
    print(f"average precision of {LABEL} {before:.3f} -> {after:.3f}, {chance:.3f} by chance")
    assert after - before > LEAST_GAIN
    assert after - before > 3 * chance


def fitted(shared: Path, world: SyllableWorld, folder: Path) -> Bundle:
    """A bundle of a few clips that were never compared with the third syllable."""
    cards = Path(__file__).parents[2] / "benchmarks" / "cards"
    card = read_card(shared / "encoders" / "yamnet_encoder_w8.onnx", cards / "yamnet.toml")
    job = Job(
        "finch", card, LESSON, WindowSpec(1, 1, 0.0), seed=0, no_background=False,
        candidates=("8",),
    )  # fmt: skip
    (folder / "clips").mkdir()
    clips = world.clips(folder / "clips", card.spec.chunk_s, 20, (TAUGHT, ALSO_TAUGHT))
    cache = TokenCache(folder / "cache", card)
    return fit_bundle(clips, cache, job, folder / "parent", replace=False).bundle


def record(
    microphone: VirtualMicrophone, folder: Path, bundle: Bundle, scenes: Sequence[Scene]
) -> None:
    """A deployment: the recorder is stopped and started between the scenes."""
    deployment = folder / "deployment.toml"
    deployment.write_text('deployment_id = "aviary-1"\n', encoding="utf-8")
    state = folder / "state"
    options = ("--bundle", str(bundle.path), "--deployment", str(deployment), "--floor", "0.01")
    for number, (samples, _) in enumerate(scenes):
        wav = folder / f"scene {number}.wav"
        sf.write(wav, samples, RATE)
        with LiveRecorder(microphone, state, RATE, options) as recorder:
            recorder.wait_for("recording fieldmic", limit_s=60)
            time.sleep(2)  # a sound server settles
            assert microphone.play(wav, latency_ms=1000).wait(timeout=120) == 0
            time.sleep(5)  # its last segment, of 4 s, is closed
            end = time.monotonic() + 60
            while behind_s(state) > 2 * bundle.encoder.chunk_s:
                assert time.monotonic() < end, recorder.log.read_text()
                time.sleep(0.2)
            recorder.stop()


def whereabouts(archive: Path, scenes: Sequence[Scene]) -> dict[int, list[Planted]]:
    """By stream: what was planted, on its time axis. All that was played is there."""
    found = {}
    streams = groupby(open_archive(archive).segments(), key=lambda one: one.stream)
    for (stream, segments), (samples, planted) in zip(streams, scenes, strict=True):
        parts = [sf.read(one.path, dtype="float32")[0] for one in segments]
        recording = np.concatenate(parts)
        first = first_sample(samples, recording)
        kept = recording[first : first + len(samples)]
        assert np.abs(kept - samples)[round(STARTS_S * RATE) :].max() < 1e-4
        found[stream] = [
            Planted(one.label, one.start_s + first / RATE, one.end_s + first / RATE)
            for one in planted
        ]
    return found


def is_heard(planted: Sequence[Planted], start_s: float, end_s: float) -> bool | None:
    """Whether a bout of the class is in a window; None: too little of one to say."""
    overlaps = [
        min(end_s, one.end_s) - max(start_s, one.start_s)
        for one in planted
        if one.label == LABEL
    ]  # fmt: skip
    most_s = max(overlaps)
    return None if 0 < most_s < MIN_HEARD_S else most_s > 0


def review(
    desk: Browser, page: Path, planted: dict[int, list[Planted]]
) -> tuple[dict[tuple[int, int], str], Path]:
    """Go through detections of the class and click what the labels say of those it gets worst.

    Returns
    -------
    dict of str, Path
        Verdicts by stream and first sample of the window that was shown; the file of the page.
    """
    data = held(page)
    verdicts = worst(data, planted)
    desk.open(page, "listen")
    desk.choose("#filter-class", LABEL)
    desk.click("#start-review")
    desk.choose("#queue", "detections")
    clicked: dict[tuple[int, int], str] = {}
    for at in range(1, len(data["items"]) + 1):
        desk.until(lambda at=at: desk.find("#progress").text.startswith(f"{at} of"))  # type: ignore[misc]
        shown = int(desk.find(".picture .spec").get_attribute("data-clip") or -1)
        if shown not in verdicts:
            desk.click("#next")
            continue
        verdict, start = verdicts.pop(shown)
        desk.click(f".verdict.{verdict}")
        clicked[data["clips"][shown]["stream"], start] = verdict
        if not verdicts:
            break
    desk.click_text("nav a", "Save")
    desk.click("#save-file")
    return clicked, desk.downloaded()


def worst(data: dict[str, Any], planted: dict[int, list[Planted]]) -> dict[int, tuple[str, int]]:
    """By clip: verdict and first sample; the surest that are wrong, the least sure that are right.

    Others say little that the bundle does not know.
    """
    found: dict[str, list[tuple[int, int]]] = {"correct": [], "wrong": []}
    items = [one for one in data["items"] if data["classes"][one["class"]]["label"] == LABEL]
    for one in sorted(items, key=lambda one: float(one["logit"])):
        stream = data["clips"][one["clip"]]["stream"]
        heard = is_heard(planted[stream], one["start"] / RATE, one["end"] / RATE)
        if heard is not None:
            found["correct" if heard else "wrong"].append((one["clip"], one["start"]))
    chosen = {
        "correct": found["correct"][: N_CLICKS // 2],
        "wrong": found["wrong"][-N_CLICKS // 2 :],
    }
    return {clip: (verdict, start) for verdict, ones in chosen.items() for clip, start in ones}


def held(page: Path) -> dict[str, Any]:
    """What a page holds."""
    text = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert text
    found: dict[str, Any] = json.loads(text[1])
    return found


def average_precisions(parent: Bundle, child: Bundle, scene: Scene) -> tuple[float, float, float]:
    """Before, after, and the standard error of the difference, bouts drawn again and again."""
    samples, planted = scene
    logits = [class_logits(bundle, samples) for bundle in (parent, child)]
    chunk_s = parent.encoder.chunk_s
    starts_s = chunk_s * np.arange(len(logits[0]))
    heard = [is_heard(planted, start_s, start_s + chunk_s) for start_s in starts_s]
    targets = np.array([np.nan if one is None else float(one) for one in heard])[:, None]
    bouts = [str(int(start_s / GAP_S)) for start_s in starts_s]
    before, after = (float(quality(one, targets).average_precision[0]) for one in logits)
    old, new = (resampled_maps(one, targets, bouts) for one in logits)
    return before, after, float(np.std(new - old))


def class_logits(bundle: Bundle, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each window of a run: (n, 1)."""
    number = [label.text for label in bundle.labels].index(LABEL)
    found: list[float] = []
    listener = RunClassifier(
        ChunkAnalyser(bundle), Run("held out", 0, RATE),
        lambda _, logits: found.append(float(logits[number])),
    )  # fmt: skip
    listener.push(samples)
    listener.finish()
    return np.array(found)[:, None]
