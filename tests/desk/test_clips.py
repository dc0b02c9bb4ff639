"""Clips hold the samples that were recorded, say all about themselves, and keep to their room."""

import shutil
import struct
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import guano
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_archive import RATE, T0, MadeDeployment, S, usual

from edge_probe.capture.segment import Format
from edge_probe.desk import clips, opened
from edge_probe.desk.archive import open_archive
from edge_probe.desk.clips import Plan, write_clips
from edge_probe.desk.results.selection import Selection

PNG = bytes(5000)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are tested by themselves: each takes a third of a second."""
    monkeypatch.setattr(clips, "picture", lambda *_: PNG)


PLAN = Plan(1.0, 1.0, 20, 10**9, 0, flac=False)


def cut(archive: Path, target: Path, plan: Plan = PLAN) -> tuple[Selection, list[Path]]:
    selection = Selection(open_archive(archive))
    n_written = write_clips(selection, target, plan)
    found = sorted(one for one in target.rglob("*") if one.suffix in (".wav", ".flac"))
    assert len(found) == n_written
    return selection, found


def noise(n_frames: int, n_channels: int = 1, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(-(2**15), 2**15, (n_frames, n_channels), dtype=np.int16)


@settings(max_examples=20)
@given(
    first=st.integers(0, 3 * RATE - 2), length=st.integers(1, RATE),
    before=st.integers(0, 2 * RATE), after=st.integers(0, 2 * RATE), channel=st.integers(0, 1),
    flac=st.booleans(),
)  # fmt: skip
def test_a_clip_is_what_was_recorded(
    tmp_path_factory: pytest.TempPathFactory,
    first: int, length: int, before: int, after: int, channel: int, flac: bool,
) -> None:  # fmt: skip
    """To the sample, over borders of WAV and FLAC, up to the ends of the recording."""
    folder = tmp_path_factory.mktemp("any")
    made = MadeDeployment(folder / "a", "fen", format=Format(RATE, 2, 2))
    made.start()
    sound = noise(3 * RATE, 2)
    for n in range(3):
        made.record(data=sound[n * RATE : (n + 1) * RATE], flac=n == 1)
    last = min(first + length, 3 * RATE)
    made.detect("a_b", first / RATE, last / RATE, channel=channel)
    made.close()
    plan = Plan(before / RATE, after / RATE, 1, 10**9, 0, flac)
    _, (path,) = cut(folder / "a", folder / "out", plan)
    begin, end = max(0, first - before), min(3 * RATE, last + after)
    found, rate = sf.read(path, dtype="int16")
    assert rate == RATE
    assert np.array_equal(found, sound[begin:end, channel])
    told = metadata(path)
    assert told["EdgeProbe|First Sample"] == str(begin)
    gaps = [one.split() for one in told["EdgeProbe|Gaps"].split("; ") if one != "none"]
    wanted = []
    if last + after > 3 * RATE:
        missing = (last + after - 3 * RATE) / RATE
        wanted.append([f"{(end - begin) / RATE:.3f}", f"{missing:.3f}", "edge"])
    assert gaps == wanted


def metadata(path: Path) -> dict[str, Any]:
    """As the guano package reads it, in the file or beside it."""
    if path.suffix == ".flac":
        found = guano.GuanoFile.from_string(path.with_suffix(".guano").read_bytes(), strict=True)
    else:
        found = guano.GuanoFile(str(path), strict=True)
    return dict(found.items())


def test_metadata_say_where_it_comes_from(tmp_path: Path) -> None:
    usual(tmp_path / "a").close()
    selection, found = cut(tmp_path / "a", tmp_path / "out")
    assert [str(one.relative_to(tmp_path / "out")) for one in found] == [
        "Parus major_Great Tit/wood-1_20260501_010000-2.wav",  # 0.5 s: the second best
        "Parus major_Great Tit/wood-1_20260501_010000.wav",
        "Parus major_Great Tit/wood-1_20260502_010000.wav",
        "Turdus -x-, y_Ørret, åé/wood-1_20260501_010002.wav",
        "rain/wood-1_20260501_010009.wav",
    ]
    assert selection.left_out == {
        "are of private classes": 1,
        "are suppressed by the species list (jsonl and parquet have them)": 1,
        "begin in a file that is not there": 1,
    }
    told = metadata(found[0])
    assert told["Timestamp"] == datetime(2026, 5, 1, 0, 0, 0, 500_000, UTC)
    assert told["Timestamp"].utcoffset() == timedelta(hours=1)
    assert (told["Loc Position"], told["Samplerate"]) == ((47.5, 8.25), RATE)
    assert told["Length"] == pytest.approx(sf.info(found[0]).duration)
    assert told["Original Filename"] == "00001-000001-000000000000_unset.wav"
    assert (told["Species Auto ID"], told["Serial"]) == ("Parus major", "00000000abcdef")
    own = {key[10:]: value for key, value in told.items() if key.startswith("EdgeProbe|")}
    assert own == {
        "Deployment ID": "wood-1", "Model": "birds-1", "Model SHA256": own["Model SHA256"],
        "Label": "Parus major_Great Tit", "Score": "0.900000", "Score Kind": "probability",
        "Logit": "2.000000", "Threshold": "0.500000", "Box Start": "1.000000",
        "Box End": "1.750000", "Box Low": "1000.000", "Box High": "3000.000", "Clock Trust": "ntp",
        "Stream": "1", "First Sample": "4000", "Channel": "0", "Gaps": "none",
    }  # fmt: skip
    rain = metadata(found[-1])
    assert rain["EdgeProbe|Score Kind"] == "uncalibrated"
    assert rain["EdgeProbe|Gaps"].startswith("-0.900 0.900 deleted; ")
    assert "Box Low" not in metadata(found[3])


def test_wav_is_plain_pcm_with_an_even_chunk_and_flac_has_the_same_beside_it(
    tmp_path: Path,
) -> None:
    usual(tmp_path / "a").close()
    _, wavs = cut(tmp_path / "a", tmp_path / "wav")
    _, flacs = cut(tmp_path / "a", tmp_path / "flac", Plan(1.0, 1.0, 20, 10**9, 0, flac=True))
    assert [one.stem for one in wavs] == [one.stem for one in flacs]
    for path, flac in zip(wavs, flacs, strict=True):
        data = path.read_bytes()
        riff, size, form, fmt, _, tag = struct.unpack_from("<4sI4s4sIH", data)
        assert (riff, form, fmt, tag, size) == (b"RIFF", b"WAVE", b"fmt ", 1, len(data) - 8)
        with wave.open(str(path)) as file:
            chunk = 44 + 2 * file.getnframes()
        name, n_bytes = struct.unpack_from("<4sI", data, chunk)
        assert (name, n_bytes % 2, chunk + 8 + n_bytes) == (b"guan", 0, len(data))
        assert flac.with_suffix(".guano").read_bytes() == data[chunk + 8 :]
        assert np.array_equal(sf.read(flac, dtype="int32")[0], sf.read(path, dtype="int32")[0])
        assert not flac.with_suffix(".wav").exists()


def test_24_bits_stay_24_bits(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen", format=Format(RATE, 1, 3))
    made.start()
    path = made.record()
    wide = np.random.default_rng(1).integers(-(2**23), 2**23, RATE) << 8
    sf.write(path, wide.astype(np.int32), RATE, "PCM_24")
    made.detect("a_b", 0.2, 0.4)
    made.close()
    _, (clip,) = cut(tmp_path / "a", tmp_path / "out")
    assert sf.info(clip).subtype == "PCM_24"
    assert np.array_equal(sf.read(clip, dtype="int32")[0], wide)


def test_a_clip_ends_at_a_gap_and_says_why(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start()
    made.record()
    made.lose(0.25, "stall")
    sound = noise(RATE)
    made.record(data=sound)
    made.detect("a_b", 1.5, 1.75)
    made.lose(0.5, "overflow")
    made.record()
    made.close()
    _, (path,) = cut(tmp_path / "a", tmp_path / "out")
    assert np.array_equal(sf.read(path, dtype="int16")[0], sound[:, 0])
    told = metadata(path)
    assert told["EdgeProbe|Gaps"] == "-0.750 0.750 stall; 1.000 0.500 overflow"
    assert told["Timestamp"] == datetime.fromtimestamp(T0 / S + 1.25, UTC)


def test_nothing_private_is_in_a_clip(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start()
    sound = noise(20 * RATE)
    made.record(data=sound)
    made.detect("a_b", 4.5, 5.5)
    made.detect("Homo sapiens_Human", 10.75, 11.0, private=True)
    made.close()
    _, (path,) = cut(tmp_path / "a", tmp_path / "out", Plan(1.0, 2.0, 1, 10**9, 0, flac=False))
    found = sf.read(path, dtype="int16")[0]
    quiet = round((10.75 - 5.0 - 3.5) * RATE)
    assert np.array_equal(found[:quiet], sound[round(3.5 * RATE) :][:quiet, 0])
    assert not found[quiet:].any()
    assert len(found) == 4 * RATE
    assert metadata(path)["EdgeProbe|Gaps"] == "2.250 1.750 private"


def many(folder: Path) -> Path:
    """Of a common class a hundred, of a rare one two, louder and louder."""
    made = MadeDeployment(folder / "a", "fen")
    made.start()
    made.record(110)
    for n in range(100):
        made.detect("common_Wren", n + 1, n + 1.5, logit=1.0 + n / 100)
    for n in range(2):
        made.detect("rare_Bittern", 50.2 + n, 50.4 + n, logit=0.6)
    made.close()
    return folder / "a"


def test_room_is_kept_and_the_best_of_every_class_come_first(tmp_path: Path) -> None:
    archive, out = many(tmp_path), tmp_path / "out"
    _, wanted = cut(archive, tmp_path / "all", Plan(0.1, 0.1, 3, 10**9, 0, flac=False))
    assert len(wanted) == 5
    one = sum(path.stat().st_size for path in wanted[0].parent.glob(f"{wanted[0].stem}.*"))
    quota = round(4.2 * one)
    selection, found = cut(archive, out, Plan(0.1, 0.1, 10, quota, 0, flac=False))
    assert sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) <= quota
    wrens = [metadata(path)["EdgeProbe|Logit"] for path in found if "Wren" in str(path)]
    assert len(found) >= 4
    assert len(list((out / "rare_Bittern").glob("*.wav"))) == 2
    assert sorted(wrens, reverse=True)[0] == "1.990000"
    assert selection.left_out == {
        "are not among the best of their class (--per-class)": 90,
        "have no room within --quota and --floor": 12 - len(found),
    }


def test_the_disk_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = many(tmp_path)
    free = [10**9, *[10**9] * 2, 5 * 10**8]
    monkeypatch.setattr(
        shutil, "disk_usage",
        lambda _: SimpleNamespace(free=free.pop(0) if len(free) > 1 else free[0]),
    )  # fmt: skip
    selection, found = cut(archive, tmp_path / "out", Plan(0, 0, 5, 10**9, 6 * 10**8, flac=False))
    assert len(found) == 3
    assert selection.left_out["have no room within --quota and --floor"] == 4


def test_a_damaged_file_costs_its_own_clips_only(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start()
    made.record()
    broken = made.record()
    made.detect("a_b", 0.25, 0.5)
    made.detect("a_b", 1.25, 1.5)
    made.close()
    broken.write_bytes(broken.read_bytes()[:100])
    selection, found = cut(tmp_path / "a", tmp_path / "out", Plan(0, 0, 5, 10**9, 0, flac=False))
    assert len(found) == 1
    assert selection.left_out == {"lie in a file that is damaged": 1}


def test_without_a_time_a_clip_is_named_by_its_place(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start(0, "unset")
    made.record()
    made.detect("a_b", 0.25, 0.5)
    made.close()
    _, (path,) = cut(tmp_path / "a", tmp_path / "out")
    assert path.name == "fen_unset_00001-000001-000000002000.wav"
    assert "Timestamp" not in metadata(path)
    assert metadata(path)["EdgeProbe|Clock Trust"] == "unset"


def test_many_deployments_are_open_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "MAX_OPEN", 2)
    for n in range(5):
        made = MadeDeployment(tmp_path / "a", f"d{n}")
        made.start()
        made.record()
        for at in (0.1, 0.3, 0.6):
            made.detect("a_b", at, at + 0.2, logit=at + n / 100)
        made.close()
    _, found = cut(tmp_path / "a", tmp_path / "out", Plan(0, 0, 15, 10**9, 0, flac=False))
    assert len(found) == 15
    for path in found:
        assert path.name.startswith(metadata(path)["EdgeProbe|Deployment ID"])
