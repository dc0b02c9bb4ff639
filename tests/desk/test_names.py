"""Names that every file system takes, that say when, and that others' programs gave."""

import json
import os
import re
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from time import process_time
from zoneinfo import ZoneInfo

import guano
import numpy as np
import pytest
import soundfile as sf
from hypothesis import example, given
from hypothesis import strategies as st

from edge_probe.cli import main
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.desk.guano import append_chunk, guano_bytes
from edge_probe.desk.names import Names, began, fat_safe, parse_name, stem
from edge_probe.errors import EdgeProbeError

HOUR = timedelta(hours=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))
OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes))
IDS = st.from_regex(r"[\w.-]{1,64}", fullmatch=True).filter(lambda text: not text.startswith("."))


@given(TEXTS)
@example("CON")
@example("com1.wav")
@example("  .. ")
@example("日" * 99)
@example("a" * 149 + "é")
def test_a_safe_name_is_one_for_fat_and_ext4(text: str) -> None:
    name = fat_safe(text)
    assert 0 < len(name.encode("utf-8")) <= 151
    assert not set(name) & set('"*/:<>?\\|')
    assert all(" " <= letter <= "\uffff" and letter != "\x7f" for letter in name)
    assert name == name.strip(" ")
    assert not name.endswith(".")
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert fat_safe(name) == name


@given(
    st.lists(
        st.sampled_from(["Wren", "wren", "WREN", "wren-2", "straße", "STRASSE", "é", "e\u0301"])
    )
)
def test_names_of_a_folder_differ_in_more_than_case(texts: list[str]) -> None:
    names = Names()
    taken = [names.take(text) for text in texts]
    assert len({name.upper() for name in taken}) == len(texts)
    assert all(name.startswith(text) for name, text in zip(taken, texts, strict=True))


@given(IDS, MOMENTS, OFFSETS)
@example("a_0+1", datetime(2026, 5, 1, tzinfo=UTC), HOUR)
@example("x_20260101_000000-1", datetime(2026, 5, 1, tzinfo=UTC), HOUR)
def test_what_we_name_is_understood(prefix: str, moment: datetime, offset: timedelta) -> None:
    name = stem(prefix, moment, offset)
    assert re.fullmatch(r".+_\d{8}_\d{6}", name)
    for suffix in (".wav", "-2.WAV", ".flac"):
        found = parse_name(name + suffix)
        assert found
        aware = found.time.replace(tzinfo=timezone(offset))
        assert aware == moment.replace(microsecond=0)
        assert found.prefix == fat_safe(prefix).removesuffix("_0+1")


def test_no_name_comes_twice_when_the_clocks_go_back() -> None:
    zurich = ZoneInfo("Europe/Zurich")
    begin = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    moments = [begin + n * timedelta(minutes=10) for n in range(24)]
    wall = {f"{moment.astimezone(zurich):%Y%m%d_%H%M%S}" for moment in moments}
    assert len(wall) < len(moments)  # what we are to avoid
    for offset in (None, HOUR, -HOUR / 2):
        names = [stem("fen", moment, offset) for moment in moments]
        assert names == sorted(set(names))
    assert stem("fen", begin, None) == "fen_20261024_233000"
    assert stem("fen", begin, HOUR) == "fen_20261025_003000"


AT = datetime(2026, 5, 1, 4, 30, 12)


@pytest.mark.parametrize(
    ("name", "prefix", "time"),
    [
        ("20260501_043012.WAV", "", AT),  # AudioMoth
        ("20260501_043012T.WAV", "", AT),  # triggered
        ("24F31901603714B5_20260501_043012.WAV", "24F31901603714B5", AT),
        ("HEATH_7_20260501_043012T.WAV", "HEATH_7", AT),
        ("5E9089F0.WAV", "", datetime(2020, 4, 10, 15, 0, 0, tzinfo=UTC)),
        ("S4A01234_20260501_043012.wav", "S4A01234", AT),  # Song Meter
        ("SITE_1_0+1_20260501_043012.wav", "SITE_1", AT),
        ("SM301_-+1_20260501$043012.wav", "SM301", AT),
        ("SMU03156_20260501_043012.w4v", "SMU03156", AT),
        ("garden_20260501_043012-000.wav", "garden", AT),  # BTO
        ("my_bat_box_20260501_043012-Pip_pip.wav", "my_bat_box", AT),
        (
            "00001-000002-000000048000_20260501T043012Z.flac", "00001-000002-000000048000",
            AT.replace(tzinfo=UTC),
        ),
    ],
)  # fmt: skip
def test_names_of_others(name: str, prefix: str, time: datetime) -> None:
    found = parse_name(name)
    assert found
    assert (found.prefix, found.time) == (prefix, time)
    assert found.time.tzinfo == time.tzinfo


@pytest.mark.parametrize(
    "name",
    ["20260501.wav", "20261501_043012.wav", "20260501_246000.wav", "x20260501_043012.wav",
     "00010101_000000.wav", "99991231_235959.wav", "box_11111111_222222.wav", "XC563936.wav",
     "20260501_043012_.wav", "2E9089F0.WAV", "00001-000002-000000048000_unset.wav"],
)  # fmt: skip
def test_names_that_tell_no_time(name: str) -> None:
    assert parse_name(name) is None


def audio(path: Path, fields: dict[str, object] | None = None) -> Path:
    sf.write(path, np.zeros(801, np.int16), 8000, "PCM_16")
    if fields is not None:
        append_chunk(path, guano_bytes(fields))
    return path


def test_without_guano_the_offset_is_asked_for(tmp_path: Path) -> None:
    path = audio(tmp_path / "20260501_043012.WAV")
    with pytest.raises(EdgeProbeError, match="does not tell") as caught:
        began(path, None)
    assert "--utc-offset" in (caught.value.hint or "")
    assert began(path, -3.5 * HOUR).isoformat() == "2026-05-01T04:30:12-03:30"


def test_guano_goes_before_the_name(tmp_path: Path) -> None:
    told = datetime(2026, 5, 1, 6, 0, 0, 250_000, tzinfo=timezone(2 * HOUR))
    path = audio(tmp_path / "20260501_043012.WAV", {"Timestamp": told})
    assert began(path, None) == told
    assert began(path, 5 * HOUR) == told
    local = audio(tmp_path / "x.wav", {"Timestamp": told.replace(tzinfo=None)})
    with pytest.raises(EdgeProbeError, match="offset"):
        began(local, None)
    assert began(local, 2 * HOUR) == told


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24"])
def test_guano_is_found_before_the_samples_and_in_any_wav(subtype: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(10), 8000, subtype)
    data = (tmp_path / "a.wav").read_bytes()
    chunk = guano_bytes({"Timestamp": datetime(2026, 5, 1, tzinfo=UTC)})
    chunk = struct.pack("<4sI", b"guan", len(chunk)) + chunk
    (tmp_path / "b.wav").write_bytes(data[:12] + chunk + data[12:])
    assert began(tmp_path / "b.wav", None) == datetime(2026, 5, 1, tzinfo=UTC)


def test_guano_that_is_damaged_is_named(tmp_path: Path) -> None:
    for content in (b"no colon\n", b"Timestamp: noon\n"):
        path = audio(tmp_path / "20260501_043012.WAV")
        append_chunk(path, content)
        with pytest.raises(EdgeProbeError, match="GUANO metadata cannot be read"):
            began(path, HOUR)


def test_guano_of_a_year_without_recorders_is_told(tmp_path: Path) -> None:
    path = audio(tmp_path / "20260501_043012.WAV", {"Timestamp": datetime(1, 1, 1, tzinfo=UTC)})
    with pytest.raises(EdgeProbeError, match="in the year 1, expected one from 1900 to 2199"):
        began(path, HOUR)


def test_silence_of_an_unfinished_recording_is_not_searched(tmp_path: Path) -> None:
    """A recorder that lost its power leaves a header without a length, and hours of zeros."""
    path = audio(tmp_path / "20260501_043012.WAV")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + bytes(4))
    os.truncate(path, 300_000_000)
    begin = process_time()
    assert began(path, HOUR).isoformat() == "2026-05-01T04:30:12+01:00"
    assert process_time() - begin < 1


def test_neither_name_nor_guano(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="found neither"):
        began(audio(tmp_path / "x.wav"), HOUR)


KEYS = st.from_regex(r"[A-Z][a-z]{0,9}( [A-Z][a-z]{0,9})?", fullmatch=True).filter(
    lambda key: key not in guano.GuanoFile._coersion_rules
)
VALUES = (
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and text.isprintable())
)


@given(
    fields=st.dictionaries(KEYS, VALUES), n_samples=st.integers(1, 9), moment=MOMENTS,
    minutes=st.integers(-12 * 60, 14 * 60),
)  # fmt: skip
def test_any_metadata_are_read_by_the_guano_package(
    tmp_path_factory: pytest.TempPathFactory,
    fields: dict[str, str], n_samples: int, moment: datetime, minutes: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("guano") / "a.wav"
    samples = np.arange(n_samples, dtype=np.uint8)
    sf.write(path, samples.astype(np.int16), 8000, "PCM_U8" if n_samples % 2 else "PCM_16")
    before, _ = sf.read(path, dtype="int16")
    moment = moment.astimezone(timezone(timedelta(minutes=minutes)))
    own = {f"EdgeProbe|{key}": value for key, value in fields.items()}
    append_chunk(path, guano_bytes({"Timestamp": moment, **own}))
    found = guano.GuanoFile(str(path), strict=True)
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert found["Timestamp"] == whole
    assert found["Timestamp"].utcoffset() == moment.utcoffset()
    assert {key: found["EdgeProbe", key] for key in fields} == fields
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    at = data.rindex(b"guan")
    assert at % 2 == 0
    assert struct.unpack_from("<I", data, at + 4)[0] % 2 == 0
    assert re.search(rb"Timestamp: \S{19}\.\d{3}[+-]\d\d:\d\d\n", data)
    assert np.array_equal(sf.read(path, dtype="int16")[0], before)


def test_classify_takes_times_from_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="int16")
    path = tmp_path / "MOTH_20260501_043012.WAV"
    sf.write(path, scene[: 20 * rate], rate, "PCM_16")
    command = ["classify", str(path), "--json", "--file-times"]
    assert main(command) == 1
    assert "say which with --utc-offset" in capsys.readouterr().err
    assert main([*command, "--utc-offset", "+02:00"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events
    for event in events:
        start = datetime(2026, 5, 1, 2, 30, 12, tzinfo=UTC) + timedelta(seconds=event["start_s"])
        assert abs(datetime.fromisoformat(event["time_utc"]) - start) <= timedelta(milliseconds=1)
        assert event["clock_trust"] == "rtc"
    assert main([*command, "--start-time", "2026-05-01T00:00:00Z"]) == 1
