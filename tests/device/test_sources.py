"""Files and pipes: the same samples from both, and nothing decoded that is not allowed."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_probe.errors import AudioError
from edge_probe.source.files import AudioFile
from edge_probe.source.pcm import PcmStream
from edge_probe.source.wav import WavWriter


def tone(n_samples: int = 4_000, n_channels: int = 1) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(-0.9, 0.9, (n_samples, n_channels)).astype(np.float32)


def samples_of(source: AudioFile | PcmStream) -> NDArray[np.float32]:
    return np.concatenate(list(source))


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(self._sizes.pop() if self._sizes else 4_096, len(buffer), len(self._data))
        buffer[:size] = self._data[:size]
        self._data = self._data[size:]
        return size


def pipe(data: bytes, sizes: list[int], **options: object) -> PcmStream:
    arguments = {"sample_rate_hz": 8_000, "n_channels": 1, "sample_format": "s16"} | options
    stream = io.BufferedReader(Trickle(data, sizes), 1)
    return PcmStream(stream, name="stdin", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "subtype", "error"),
    [
        ("wav", "PCM_U8", 2**-7), ("wav", "PCM_16", 2**-15), ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-24), ("wav", "FLOAT", 0), ("w64", "PCM_16", 2**-15),
        ("flac", "PCM_16", 2**-15), ("flac", "PCM_24", 2**-23),
    ],
)  # fmt: skip
def test_allowed_files_are_read_in_blocks_and_at_random(
    tmp_path: Path, suffix: str, subtype: str, error: float
) -> None:
    path = tmp_path / f"a.{suffix}"
    expected = tone(70_000)
    sf.write(path, expected, 22_050, subtype=subtype)
    with AudioFile(path) as audio:
        found = samples_of(audio)
        np.testing.assert_allclose(found, expected[:, 0], atol=max(error, 1e-9))
        assert audio.read(65_530, 65_550).tobytes() == found[65_530:65_550].tobytes()
        assert (audio.sample_rate_hz, audio.n_samples) == (22_050, 70_000)


def test_ogg_vorbis_is_read_and_reading_at_random_agrees(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    with sf.SoundFile(path, "w", 22_050, 1, format="OGG", subtype="VORBIS") as file:
        for _ in range(8):
            file.write(tone(10_000))
    with AudioFile(path) as audio:
        found = samples_of(audio)
        assert len(found) == 80_000
        np.testing.assert_allclose(audio.read(30_000, 31_000), found[30_000:31_000], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.wav", b"this is text, not audio" * 9, "found something else"),
        ("a.flac", b"", "the file is empty"),
        ("a.ogg", b"OggS" + b"\0" * 24 + b"OpusHead" + b"\0" * 40, "found something else"),
        ("a.mp3", b"ID3\x04" + b"\0" * 100, "found something else"),
        ("a.aiff", b"FORM\0\0\0\x40AIFF" + b"\0" * 60, "found something else"),
        ("a.wav", b"RIFF\x10\0\0\0WAVEfmt ", "cannot be decoded"),
    ],
)
def test_other_content_is_refused_before_decoding(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AudioError, match=words) as caught:
        AudioFile(path)
    assert caught.value.hint


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.wav", tmp_path):
        with pytest.raises(AudioError) as caught:
            AudioFile(path)
        assert str(path) in caught.value.message


def test_wav_kinds_outside_the_list_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, tone(), 8_000, subtype="ULAW")
    with pytest.raises(AudioError, match="found WAV ULAW"):
        AudioFile(path)


def test_wav_without_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(0, np.float32), 8_000)
    with pytest.raises(AudioError, match="holds no samples"):
        AudioFile(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_refused_with_its_place(tmp_path: Path, bad: float) -> None:
    path, audio = tmp_path / "a.wav", tone()
    audio[2_000] = bad
    sf.write(path, audio, 8_000, subtype="FLOAT")
    with AudioFile(path) as file, pytest.raises(AudioError, match=r"sample 2000 \(0.250 s\)"):
        samples_of(file)
    with pytest.raises(AudioError, match="sample 2000"):
        samples_of(pipe(audio.tobytes(), [], sample_format="f32"))


def test_a_channel_is_chosen_never_averaged(tmp_path: Path) -> None:
    path, audio = tmp_path / "a.wav", tone(100, 3)
    sf.write(path, audio, 8_000, subtype="FLOAT")
    with AudioFile(path, 2) as file:
        assert samples_of(file).tobytes() == audio[:, 2].tobytes()
    with pytest.raises(AudioError, match="3 channels and none was chosen"):
        AudioFile(path)
    for channel in (3, -1):
        with pytest.raises(AudioError, match="from 0 to 2"):
            AudioFile(path, channel)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_cut_flac_gives_what_can_be_decoded_and_says_so(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.flac"
    samples = tone(300_000)
    sf.write(path, samples, 22_050)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    found: list[NDArray[np.float32]] = []
    with AudioFile(path) as file, pytest.raises(AudioError, match="cut off or damaged"):
        found.extend(file)
    n_found = sum(map(len, found))
    assert n_found > 300_000 * share * 0.97 - 5_000  # a FLAC block has 4,096 samples
    np.testing.assert_allclose(np.concatenate(found), samples[:n_found, 0], atol=2**-15)


@pytest.mark.parametrize("suffix", ["wav", "w64", "ogg"])
def test_what_libsndfile_would_take_for_whole_is_reported(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with sf.SoundFile(path, "w", 22_050, 1) as file:
        for _ in range(20):
            file.write(tone(10_000)[:, 0])
    with AudioFile(path) as file:
        assert len(samples_of(file)) == 200_000
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    found: list[int] = []
    with AudioFile(path) as file, pytest.raises(AudioError, match="cut off or damaged"):
        found.extend(len(block) for block in file)
    assert sum(found) > 100_000


@pytest.mark.parametrize("n_bytes", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF - 36])
def test_wav_of_a_pipe_is_read_to_its_end(tmp_path: Path, n_bytes: int) -> None:
    """arecord, ffmpeg and sox cannot go back to a header that went into a pipe."""
    path = tmp_path / "a.wav"
    sf.write(path, tone(), 8_000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", n_bytes)
    path.write_bytes(data)
    with AudioFile(path) as file:
        assert len(samples_of(file)) == 4_000


def test_flac_of_unknown_length_is_refused(tmp_path: Path) -> None:
    """A pipe leaves 0 samples in the header; libsndfile would lose the last block of them."""
    path = tmp_path / "a.flac"
    sf.write(path, tone(100_000), 8_000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(AudioError, match="does not say how long"):
        AudioFile(path)


def test_ogg_after_ogg_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    sf.write(path, tone()[:, 0], 8_000)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(AudioError, match="several Ogg streams"):
        AudioFile(path)


def test_a_named_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        AudioFile(tmp_path / "pipe.wav")


@pytest.mark.parametrize("at", [0, 5, 70_000])
def test_everything_before_a_nan_is_given_out(tmp_path: Path, at: int) -> None:
    path, audio = tmp_path / "a.wav", tone(100_000)
    audio[at] = np.nan
    sf.write(path, audio, 8_000, subtype="FLOAT")
    stream = pipe(audio.tobytes(), [10_000] * 50, sample_format="f32")
    with AudioFile(path) as file:
        for source in (file, stream):
            found: list[int] = []
            with pytest.raises(AudioError, match=f"sample {at} "):
                found.extend(len(block) for block in source)
            assert sum(found) == at


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "w64"])
def test_an_audio_file_on_the_pipe_is_no_raw_pcm(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, tone()[:, 0], 8_000)
    with pytest.raises(AudioError, match="found the header") as caught:
        samples_of(pipe(path.read_bytes(), [1, 1, 1, 1]))
    assert "arecord -t raw" in str(caught.value.hint)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["u8", "s16", "s24", "s32", "f32"]),
    st.integers(1, 3),
    st.integers(1, 300),
    st.lists(st.integers(1, 50), max_size=40),
)
def test_pipe_in_any_pieces_equals_the_file(
    kind: str, n_channels: int, n_frames: int, sizes: list[int]
) -> None:
    subtype = {"u8": "PCM_U8", "s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}
    audio = tone(n_frames, n_channels)
    wav, raw = io.BytesIO(), io.BytesIO()
    sf.write(wav, audio, 8_000, subtype=subtype[kind], format="WAV")
    sf.write(raw, audio, 8_000, subtype=subtype[kind], format="RAW", endian="LITTLE")
    wav.seek(0)
    expected = sf.read(wav, dtype="float32", always_2d=True)[0][:, n_channels - 1]
    stream = pipe(
        raw.getvalue(), sizes, n_channels=n_channels, sample_format=kind, channel=n_channels - 1
    )
    assert samples_of(stream).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_bytes_that_make_no_frame_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert len(samples_of(pipe(b"\1\2\3\4\5", []))) == 2
    assert "the last 1 bytes are no whole frame" in caplog.text


def test_empty_pipe_is_refused() -> None:
    with pytest.raises(AudioError, match="holds no samples"):
        samples_of(pipe(b"", []))


def test_written_wav_is_right_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "kept.wav"
    frames = (np.arange(200, dtype=np.int16) * 7).reshape(100, 2)
    with WavWriter(path, 48_000, 2) as writer:
        for begin in range(0, 100, 10):
            writer.write(frames[begin : begin + 10])
            written, rate = sf.read(path, dtype="int16")
            assert rate == 48_000
            assert (written == frames[: begin + 10]).all()
    head = path.read_bytes()[:44]
    assert struct.unpack("<H", head[20:22]) == (1,)  # format tag: PCM


def test_written_wav_replaces_nothing_and_says_why_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "kept.wav").write_bytes(b"precious")
    for name, reason in (("kept.wav", "exists already"), ("none/kept.wav", "No such file")):
        with pytest.raises(AudioError, match=reason):
            WavWriter(tmp_path / name, 48_000, 1)
    assert (tmp_path / "kept.wav").read_bytes() == b"precious"
