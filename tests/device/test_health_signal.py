"""What is wrong with a microphone is seen in its samples, and nothing where nothing is."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.numbered_source import VirtualClock

from edge_probe.capture.segment import Format
from edge_probe.health.row import Alarm
from edge_probe.health.signal import SILENT_DBFS, Life, Signal, n_clipped, samples

RATE = 16_000
MONO = Format(RATE, 1, 2)


def noise(n: int, rms: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n) * rms


def tone(frequency_hz: float, peak: float, seconds: float = 12, rate_hz: int = RATE) -> np.ndarray:
    return peak * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def watched(values: np.ndarray, format_: Format = MONO) -> tuple[dict[str, float], list[Alarm]]:
    """Readings and alarms of integers, (n,) or (n, channels)."""
    signal = Signal(format_, VirtualClock())
    signal.feed(packed(values, format_.sample_bytes))
    rows, alarms = signal.minute(0)
    return {row.name: row.value for row in rows}, list(alarms)


def packed(values: np.ndarray, sample_bytes: int) -> bytes:
    wide = np.rint(values).astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)
    return bytes(wide[:, :sample_bytes])


def names(alarms: list[Alarm]) -> list[str]:
    return [alarm.name for alarm in alarms]


@given(values=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=60),
       sample_bytes=st.sampled_from((2, 3, 4)), n_channels=st.sampled_from((1, 2)))  # fmt: skip
def test_samples_are_read_as_they_were_packed(
    values: list[int], sample_bytes: int, n_channels: int
) -> None:
    whole = np.array(values[: len(values) // n_channels * n_channels])
    whole = whole * 256 ** (sample_bytes - 2) + (sample_bytes > 2)
    read = samples(packed(whole, sample_bytes), Format(RATE, n_channels, sample_bytes))
    np.testing.assert_array_equal(read, whole.reshape(-1, n_channels))


@pytest.mark.parametrize("sample_bytes", [2, 3, 4])
def test_levels_of_a_tone(sample_bytes: int) -> None:
    full = 2 ** (8 * sample_bytes - 1)
    values = tone(1000.3, 0.1 * full) + 0.01 * full + noise(12 * RATE, 1e-5 * full)
    rows, alarms = watched(values, Format(RATE, 1, sample_bytes))
    assert rows["peak.0"] == pytest.approx(20 * np.log10(0.11), abs=0.01)
    assert rows["rms.0"] == pytest.approx(-20, abs=0.01)
    assert rows["dc.0"] == pytest.approx(0.01, abs=1e-4)
    assert rows["floor_1000_hz.0"] == pytest.approx(-20, abs=0.05)
    assert rows["floor_4000_hz.0"] < -80
    assert not alarms


def test_the_floor_of_noise_is_that_of_its_quiet_moments() -> None:
    quiet = noise(40 * RATE, 30)
    loud = quiet.copy()
    loud[20 * RATE :] += tone(4000, 8000, 20)
    silent_rows, loud_rows = watched(quiet)[0], watched(loud)[0]
    whole = 20 * np.log10(30 / 2**15) + 3.01
    assert silent_rows["rms.0"] == pytest.approx(whole, abs=0.1)
    band = whole - 10 * np.log10(8000 / (4000 / np.sqrt(2)))
    assert silent_rows["floor_4000_hz.0"] == pytest.approx(band, abs=0.6)
    assert loud_rows["rms.0"] > whole + 30
    assert loud_rows["floor_4000_hz.0"] == pytest.approx(silent_rows["floor_4000_hz.0"], abs=0.5)


@settings(max_examples=20, deadline=None)
@given(rms=st.floats(3, 3000), seed=st.integers(0, 99), peak=st.floats(0, 20_000),
       frequency_hz=st.floats(40, 7900))  # fmt: skip
def test_sound_is_no_alarm(rms: float, seed: int, peak: float, frequency_hz: float) -> None:
    values = noise(12 * RATE, rms, seed) + tone(frequency_hz, peak)
    _, alarms = watched(np.clip(values, -32_760, 32_760))
    assert not alarms


@settings(max_examples=20, deadline=None)
@given(frequency_hz=st.floats(20, 7900), peak=st.floats(1500, 32_000))
def test_a_pure_tone_is_not_taken_for_clipping(frequency_hz: float, peak: float) -> None:
    values = np.rint(tone(frequency_hz, peak, 1)).astype(np.int16)
    assert n_clipped(values, 2**15, 1) == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), top=st.sampled_from((2047, 8000, 30_000)), over=st.floats(1.2, 4))
def test_clipping_below_full_scale_is_seen_and_counted(seed: int, top: int, over: float) -> None:
    values = np.rint(tone(700 + seed, top * over, 1) + noise(RATE, 5, seed))
    cut = np.clip(values, -top, top).astype(np.int16)
    assert n_clipped(cut, 2**15, 1) == np.count_nonzero(np.abs(cut) == top)


@pytest.mark.parametrize("step", [1, 16])
def test_clipping_at_full_scale_is_an_alarm(step: int) -> None:
    values = np.clip(np.rint(noise(12 * RATE, 15_000) / step) * step, -(2**15), 2**15 - step)
    rows, alarms = watched(values)
    share = np.count_nonzero((values >= 2**15 - step) | (values <= step - 2**15)) / len(values)
    assert rows["clipped.0"] == pytest.approx(share)
    assert rows["peak.0"] == pytest.approx(0, abs=0.01)
    assert names(alarms) == ["clipping.0"]


def test_a_dc_offset_is_an_alarm() -> None:
    assert names(watched(noise(12 * RATE, 100) + 3000)[1]) == ["dc.0"]


@pytest.mark.parametrize(("unused", "n_bits"), [(0, 16), (4, 12), (8, 8)])
def test_effective_bits_are_counted(unused: int, n_bits: int) -> None:
    values = np.rint(noise(12 * RATE, 3000) / 2**unused) * 2**unused
    rows, alarms = watched(values)
    assert rows["bits.0"] == n_bits
    assert not alarms
    rows, _ = watched(values * 256, Format(RATE, 1, 3))
    assert rows["bits.0"] == n_bits


@pytest.mark.parametrize("bit", [3, 7])
@pytest.mark.parametrize("value", [0, 1])
def test_a_stuck_bit_is_an_alarm(bit: int, value: int) -> None:
    values = np.rint(noise(12 * RATE, 300)).astype(np.int64)
    values = values & ~(1 << bit) | value << bit
    rows, alarms = watched(values)
    assert names(alarms) == ["stuck_bits.0"]
    assert f"{1 << bit:#x} of 0xffff" in alarms[0].text
    assert rows["bits.0"] == 16


@pytest.mark.parametrize("value", [0, -1, 77])
def test_a_constant_channel_is_a_flat_line(value: int) -> None:
    both = np.stack([np.full(12 * RATE, value), noise(12 * RATE, 100)], axis=1)
    rows, alarms = watched(both, Format(RATE, 2, 2))
    assert rows["flat.0"] == 1
    assert rows["flat.1"] == 0
    assert rows["rms.0"] == SILENT_DBFS
    assert names(alarms) == ["flat_line.0"]


@pytest.mark.parametrize(("true_hz", "opened_hz", "rms", "sample_bytes"), [
    (48_000, 192_000, 30, 2), (48_000, 192_000, 3000, 2), (48_000, 192_000, 300, 3),
    (48_000, 96_000, 300, 2), (44_100, 96_000, 30, 2), (16_000, 48_000, 30, 2),
    (32_000, 48_000, 3000, 4), (250_000, 384_000, 300, 2),
])  # fmt: skip
def test_a_resampled_stream_is_an_alarm(
    true_hz: int, opened_hz: int, rms: float, sample_bytes: int
) -> None:
    values = soxr.resample(noise(11 * true_hz, rms), true_hz, opened_hz)
    rows, alarms = watched(values * 256 ** (sample_bytes - 2), Format(opened_hz, 1, sample_bytes))
    assert rows["true_rate.0"] == true_hz
    assert names(alarms) == ["resampled.0"]


def test_one_call_above_the_edge_shows_that_it_was_not_resampled() -> None:
    values = soxr.resample(noise(11 * 48_000, 300), 48_000, 192_000)
    call = slice(5 * 192_000, 5 * 192_000 + 2000)
    values[call] += tone(45_000, 300, rate_hz=192_000)[:2000]
    rows, alarms = watched(values, Format(192_000, 1, 2))
    assert not alarms
    assert "true_rate.0" not in rows


def test_insects_over_a_quiet_microphone_are_not_taken_for_resampled() -> None:
    lines = np.fft.rfft(noise(11 * 48_000, 2**20))
    frequencies = np.fft.rfftfreq(11 * 48_000, 1 / 48_000)
    lines[(frequencies < 4000) | (frequencies > 7000)] = 0
    values = np.fft.irfft(lines) + noise(11 * 48_000, 30, 1)
    assert not watched(values, Format(48_000, 1, 3))[1]


def test_a_microphone_that_falls_off_gently_is_not_taken_for_resampled() -> None:
    lines = np.fft.rfft(noise(11 * 96_000, 3000))
    frequencies = np.fft.rfftfreq(11 * 96_000, 1 / 96_000)
    lines /= 1 + (frequencies / 12_000) ** 3  # 18 dB per octave
    values = np.fft.irfft(lines)
    assert not watched(values, Format(96_000, 1, 2))[1]


@settings(max_examples=15, deadline=None)
@given(pieces=st.lists(st.integers(1, 60_000), max_size=12),
       format_=st.sampled_from((MONO, Format(8000, 3, 3), Format(192_000, 1, 2))))  # fmt: skip
def test_how_frames_are_cut_into_blocks_does_not_matter(pieces: list[int], format_: Format) -> None:
    n = 2 * format_.rate_hz * format_.n_channels
    whole = packed(noise(n, 100), format_.sample_bytes)
    at_once, in_pieces = Signal(format_, VirtualClock()), Signal(format_, VirtualClock())
    at_once.feed(whole)
    rest = memoryview(whole)
    for piece in pieces:
        in_pieces.feed(rest[:piece])
        rest = rest[piece:]
    in_pieces.feed(rest)
    assert in_pieces.minute(0) == at_once.minute(0)


def test_a_dead_microphone_is_seen_within_a_second_and_a_living_one_too() -> None:
    clock = VirtualClock()
    signal = Signal(MONO, clock)
    assert signal.life is None
    second = packed(noise(RATE, 100), 2)
    began_ns = clock.now_ns

    def hear(frames: bytes) -> Life | None:
        clock.now_ns += 10**9
        signal.feed(frames)
        return signal.life

    for n in (1, 2):
        assert hear(second) == (True, began_ns, began_ns + n * 10**9)
    died_ns = clock.now_ns
    for n in (1, 2, 3):
        assert hear(bytes(len(second))) == (False, died_ns, died_ns + n * 10**9)
    assert hear(second) == (True, clock.now_ns - 10**9, clock.now_ns)


def test_a_minute_without_frames_says_nothing() -> None:
    signal = Signal(MONO, VirtualClock())
    signal.feed(packed(noise(2 * RATE, 100), 2))
    assert signal.minute(0)[0]
    assert signal.minute(0) == ([], [])
