"""What the book's pages find in the tutorial's folder: two cards from the field, and a reviewer."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.capture.ledger import Ledger
from edge_probe.classify import ChunkAnalyser
from edge_probe.disk.findings import Findings
from edge_probe.disk.sample import Design, Sampler, Stratum

from .analysed_state import SoundCard, work_off, worker_on
from .made_corrections import entry, write_corrections

NIGHT = ("noise", "rising", "noise", "pulsed", "rising", "noise")
"""What the tutorial's ``night.wav`` is made of, `CLIP_S` each."""

KINDS = {
    "Imaginarius ascendens_Rising Warbler": "rising",
    "Imaginarius pulsans_Pulsing Frog": "pulsed",
}
CLIP_S = 2
LOST_S = 1
NIGHTS = 3

DESIGN = Design(1, 5.0, 1.0, (Stratum(0.1, 1.0),))
"""Every window is drawn: the cards are short."""

DEPLOYMENT = """
latitude = 50.8103
longitude = 8.7703
utc_offset = "+01:00"
setup_by = "A. Field"
[project]
title = "Owls of the oak wood"
sampling_design = "simpleRandom"
"""


def add_cards(folder: Path) -> None:
    """Write ``card1/`` and ``card2/``: nights that went through recorder, classifier, sampler."""
    bundle = open_bundle(folder / "my_bundle")
    for number in (1, 2):
        _record(folder / f"card{number}", folder / "night.wav", bundle, f"oak-{number}")


def _record(state: Path, night: Path, bundle: Bundle, deployment_id: str) -> None:
    sound, rate_hz = sf.read(night, dtype="int16")
    state.mkdir()
    (state / "deployment.toml").write_text(
        f'deployment_id = "{deployment_id}"\n{DEPLOYMENT}', encoding="utf-8"
    )
    card = SoundCard(state, rate_hz, segment_s=20)
    card.clock.kernel_id = deployment_id
    for _ in range(NIGHTS):
        card.play(sound.reshape(-1, 1))
        card.lose(LOST_S * rate_hz)
    card.end()
    worker = worker_on(state, ChunkAnalyser(bundle), design=DESIGN)
    work_off(worker)
    worker.rest()
    ledger, findings = Ledger(state / "capture.sqlite"), Findings(state / "detections.sqlite")
    Sampler(DESIGN, findings).draw(ledger)
    findings.close()
    ledger.close()


def review(folder: Path) -> None:
    """Write ``corrections.json``, as the report saves it: somebody knows what was played."""
    bundle = open_bundle(folder / "my_bundle")
    entries = [one for number in (1, 2) for one in _said(folder / f"card{number}", bundle)]
    write_corrections(folder / "corrections.json", entries)


def _said(state: Path, bundle: Bundle) -> list[dict[str, Any]]:
    """A verdict on both classes for each window of the random sample."""
    with closing(sqlite3.connect(state / "capture.sqlite")) as db:
        drawn = db.execute(
            "SELECT stream, first_frame, n_frames, rate_hz, probability FROM sample"
            " JOIN stream USING (stream) WHERE kind = 'random' ORDER BY 1, 2"
        ).fetchall()
    return [
        entry(
            deployment_id=f"oak-{state.name[-1]}", bundle_sha256=bundle.sha256, stream=stream,
            start_sample=first, end_sample=first + n, rate_hz=rate_hz, label=label,
            verdict=_verdict(kind, first / rate_hz, (first + n) / rate_hz), draw="random",
            probability=probability, logit=_logit(state, list(KINDS).index(label), first, n),
        )
        for stream, first, n, rate_hz, probability in drawn
        for label, kind in KINDS.items()
    ]  # fmt: skip


def _verdict(kind: str, begin_s: float, end_s: float) -> str:
    """Whether a call of this kind lies in the window; where the window cuts its clip, who knows."""
    night_s = CLIP_S * len(NIGHT) + LOST_S
    clips = [
        night_s * night + CLIP_S * place
        for night in range(NIGHTS)
        for place, played in enumerate(NIGHT)
        if played == kind
    ]
    if any(begin_s <= at and at + CLIP_S <= end_s for at in clips):
        return "correct"
    return "unsure" if any(begin_s < at + CLIP_S and at < end_s for at in clips) else "wrong"


def _logit(state: Path, class_index: int, first: int, n: int) -> float | None:
    """The highest of the classifier's windows that touch this one."""
    with closing(sqlite3.connect(state / "detections.sqlite")) as db:
        found = db.execute(
            "SELECT best FROM score_cache WHERE first_frame < ? AND first_frame + n_frames > ?",
            (first + n, first),
        ).fetchall()
    kind = np.dtype([("class_index", "<u4"), ("logit", "<f4")])
    logits = [
        float(row["logit"])
        for (best,) in found
        for row in np.frombuffer(best, kind)
        if row["class_index"] == class_index
    ]
    return max(logits, default=None)
