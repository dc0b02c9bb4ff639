"""Spectrograms show the box where the sound is."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.made_archive import RATE, MadeDeployment, usual

from edge_probe.cli import main
from edge_probe.desk.archive import open_archive
from edge_probe.desk.clip_audio import ClipAudio
from edge_probe.desk.clips import Plan, write_clips
from edge_probe.desk.picture import picture, spectrogram
from edge_probe.desk.results.selection import Selection
from edge_probe.desk.rows import DetectionRow

BLUE = (0x56, 0xB4, 0xE9)


def shown(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (800, 400))
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the box."""
    found = np.argwhere(np.abs(pixels - BLUE).sum(axis=2) < 90)
    (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0)
    return left, top, right, bottom


def test_the_box_is_drawn_around_what_is_heard(tmp_path: Path) -> None:
    """A tone of 2.2 kHz from 0.9 to 1.6 s; clip from 0.35 to 2.65 s."""
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start()
    at = np.arange(3 * RATE) / RATE
    tone = np.where((at > 0.9) & (at < 1.6), 8000 * np.sin(2 * np.pi * 2200 * at), 0)
    sound = (tone + np.random.default_rng(0).normal(0, 3, len(at))).astype(np.int16)
    made.record(data=sound[:, None])
    made.detect("a_b", 0.85, 1.65, band=(1800, 2600))
    made.close()
    plan = Plan(0.5, 1.0, 1, 10**9, 0, flac=False)
    assert write_clips(Selection(open_archive(tmp_path / "a")), tmp_path / "out", plan) == 1
    (path,) = (tmp_path / "out").rglob("*.png")
    pixels = shown(path.read_bytes())
    left, top, right, bottom = drawn(pixels)
    # axes: 68 to 784 of 800, 52 to 348 of 400; 2.3 s and 4 kHz
    assert (left, right) == pytest.approx((68 + 716 * 0.5 / 2.3, 68 + 716 * 1.3 / 2.3), abs=2)
    assert (bottom, top) == pytest.approx((348 - 296 * 1.8 / 4, 348 - 296 * 2.6 / 4), abs=2)
    inside = pixels[54:346, 70:782]  # of the frame
    loud = np.argwhere(inside.min(axis=2) > 150) + np.array([54, 70])
    assert len(loud) > 200
    first, last = loud.min(axis=0), loud.max(axis=0)
    assert (first[1], last[1]) == pytest.approx((left + 16, right - 16), abs=12)
    assert (first[0] + last[0]) / 2 == pytest.approx((top + bottom) / 2, abs=3)


@settings(max_examples=12)
@given(
    n_samples=st.integers(1, 9000), rate=st.sampled_from([8000, 48_000, 384_000]),
    loudness=st.sampled_from([0.0, 1e-6, 1.0]), name=st.text(max_size=150),
)  # fmt: skip
def test_anything_can_be_drawn(n_samples: int, rate: int, loudness: float, name: str) -> None:
    """Silence, single samples, names that the font or its mathematics do not know."""
    made = usual_row(name)
    samples = np.full(n_samples, loudness, np.float32)
    clip = ClipAudio(samples, rate, 2, made.start_sample, ("a.wav",), ())
    shown(picture(clip, made, "2026"))


def usual_row(name: str) -> DetectionRow:
    return DetectionRow(
        "wood", 1, "b", "c" * 64, 1, 1, 0, 0, 100, 8000, None, None, "unset", name, name, name,
        1.0, 0.5, False, 0.0, None, None, 0, False, False, None,
    )  # fmt: skip


@given(st.integers(1, 5000), st.integers(1, 700))
def test_columns_are_centred_on_their_samples(n_samples: int, step: int) -> None:
    at = n_samples // step // 2 * step
    samples = np.zeros(n_samples, np.float32)
    samples[at] = 1.0
    levels = spectrogram(samples, step)
    assert levels.shape == (1 + n_samples // step, 513)
    assert levels[:, 0].argmax() == at // step


def test_the_command_refuses_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    usual(tmp_path / "a").close()
    command = ["clips", str(tmp_path / "a"), "--out", str(tmp_path / "out"), "--floor", "0"]
    assert main([*command, "--per-class", "1"]) == 0
    assert capsys.readouterr().out.endswith("3 clips\n")
    assert "left out: 2 detections are not among the best of their class" in caplog.text
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
