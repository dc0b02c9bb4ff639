"""The token cache: nothing is encoded twice, nothing changed is believed, nothing is left out."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from support.token_world import (
    CHUNK,
    N_DIMS,
    N_FREQ,
    N_TIME,
    RATE,
    cls_weights,
    noise,
    token_map,
    write_clip,
    write_encoder,
)

from edge_probe.errors import AudioError, EdgeProbeError, EncoderError
from export.card import EncoderCard
from export.clips import Clip
from export.tokens import TokenCache, clip_chunks, encoder_key
from export.tokens.keys import AudioVersion


@pytest.fixture
def card(tmp_path: Path) -> EncoderCard:
    return write_encoder(tmp_path / "encoder")


@pytest.fixture
def cache(tmp_path: Path, card: EncoderCard) -> TokenCache:
    return TokenCache(tmp_path / "cache", card)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def test_tokens_mask_and_level_are_those_of_the_audio(tmp_path: Path, cache: TokenCache) -> None:
    """Two and a half chunks of 20 columns: ten of the last are padding."""
    clip = cache.tokens(write_clip(tmp_path / "a.wav", 2.5))
    audio = np.append(noise(2.5, 0), np.zeros(CHUNK // 2, np.float32)).reshape(3, CHUNK)
    np.testing.assert_array_equal(clip.tokens, np.stack([token_map(chunk) for chunk in audio]))
    assert clip.tokens.dtype == np.float16
    assert clip.valid.dtype == np.bool_
    np.testing.assert_array_equal(clip.valid.sum(axis=1), [40, 40, 20])
    assert clip.valid[2, :20].all()
    assert clip.level is not None
    assert clip.level.dtype == np.float32
    halves = [audio[0], audio[1], audio[2, : CHUNK // 2]]
    expected = [np.sqrt(np.mean(half.astype(np.float64) ** 2)) for half in halves]
    np.testing.assert_allclose(clip.level, expected, rtol=1e-6)
    assert clip.cls is None


def test_level_of_a_full_scale_square_wave_is_one(tmp_path: Path, cache: TokenCache) -> None:
    sf.write(tmp_path / "a.wav", np.tile([1.0, -1.0], 200), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(cache.tokens(Clip(tmp_path / "a.wav", (), "a")).level, [1, 1, 1])


def test_a_clip_is_encoded_once(tmp_path: Path, card: EncoderCard) -> None:
    clips = [write_clip(tmp_path / f"{n}.wav", seed=n) for n in range(5)]
    first = TokenCache(tmp_path / "cache", card).encode(clips)
    assert first.n_encoded == 5
    assert first.summary().startswith("5 encoded (")
    assert " clips/s), 0 from the cache, 0 unreadable; " in first.summary()
    written = times(tmp_path / "cache")
    again = TokenCache(tmp_path / "cache", card).encode(clips)
    assert again.summary() == (
        f"0 encoded, 5 from the cache, 0 unreadable; {first.cache_bytes / 2**20:.1f} MiB on disk"
    )
    assert first.cache_bytes == sum(path.stat().st_size for path in written)
    assert times(tmp_path / "cache") == written
    for one, other in zip(first.tokens, again.tokens, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_array_equal(one.valid, other.valid)
    written = times(tmp_path / "cache")
    more = TokenCache(tmp_path / "cache", card).encode([*clips, write_clip(tmp_path / "x.wav", 9)])
    assert more.n_encoded == 1
    assert sum(times(tmp_path / "cache").get(path) != time for path, time in written.items()) <= 1


def test_a_moved_clip_is_known_and_a_changed_one_is_not(tmp_path: Path, cache: TokenCache) -> None:
    clips = [write_clip(tmp_path / f"{n}.wav", seed=n) for n in range(3)]
    before = cache.encode(clips)
    clips[0].path.rename(tmp_path / "moved.wav")
    moved = replace(clips[0], path=tmp_path / "moved.wav")
    known = cache.encode([moved, *clips[1:]])
    assert known.n_encoded == 0
    np.testing.assert_array_equal(known.tokens[0].tokens, before.tokens[0].tokens)
    changed = [write_clip(tmp_path / "1.wav", seed=7), clips[2]]
    after = cache.encode(changed)
    assert after.n_encoded == 1
    np.testing.assert_array_equal(after.tokens[0].tokens[1], token_map(noise(2, 7)[CHUNK:]))


def test_clips_of_the_same_audio_share_their_tokens(tmp_path: Path, cache: TokenCache) -> None:
    clips = [write_clip(tmp_path / f"{n}.wav") for n in range(3)]
    encoded = cache.encode(clips)
    assert (encoded.n_encoded, len(encoded.tokens)) == (1, 3)
    for clip in clips:
        clip.path.write_bytes(clip.path.read_bytes()[:30])
    with pytest.raises(EdgeProbeError, match="none of 3 clips"):
        cache.encode(clips)
    encoded = cache.encode([*clips, write_clip(tmp_path / "whole.wav")])
    assert len(encoded.unreadable) == 3
    assert encoded.unreadable[1].startswith(f"{clips[1].path}: {clips[0].path}: ")


def test_a_clip_that_changes_under_our_hands_is_refused(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav").path
    version = AudioVersion.of(path)
    version.check(path)
    os.utime(path, ns=(0, version.modified_ns + 1))
    with pytest.raises(AudioError, match=r"a\.wav: changed while it was encoded"):
        version.check(path)
    path.unlink()
    with pytest.raises(AudioError, match=r"a\.wav: No such file"):
        version.check(path)


def test_another_card_is_another_cache(tmp_path: Path, card: EncoderCard) -> None:
    spec, grid = card.spec, card.spec.grid
    changes: list[dict[str, Any]] = [
        {"sample_rate_hz": 24_000}, {"chunk_samples": 24_000}, {"input_name": "z"},
        {"output_name": "z"}, {"grid": replace(grid, start_samples=7.0)},
        {"grid": replace(grid, step_samples=7.0)}, {"grid": replace(grid, n_time=7)},
    ]  # fmt: skip
    (tmp_path / "weights.bin").write_bytes(b"one")
    with_data = replace(card, external_data=(tmp_path / "weights.bin",))
    cards = [card, with_data, replace(card, cls="c"), replace(card, cls="d")]
    cards += [replace(card, spec=replace(spec, **change)) for change in changes]
    for each in (*cards, *cards):
        TokenCache(tmp_path / "cache", each)
    (tmp_path / "weights.bin").write_bytes(b"two")
    TokenCache(tmp_path / "cache", with_data)
    assert len(list((tmp_path / "cache").iterdir())) == len(cards) + 1
    (tmp_path / "weights.bin").write_bytes(b"one")
    assert len({encoder_key(each) for each in cards}) == len(cards)


def test_cls_comes_from_the_same_pass(tmp_path: Path, card: EncoderCard) -> None:
    with_cls = write_encoder(tmp_path / "cls", cls=True)
    assert with_cls.cls == "c"
    clip = write_clip(tmp_path / "a.wav", 3)
    for _ in range(2):  # from the encoder, then from the cache
        found = TokenCache(tmp_path / "cache", with_cls).tokens(clip)
        assert found.cls is not None
        expected = noise(3, 0).reshape(3, CHUNK).astype(np.float64) @ cls_weights()
        np.testing.assert_allclose(found.cls, expected, atol=1e-3)
        assert found.cls.dtype == np.float16
        without = TokenCache(tmp_path / "cache", card).tokens(clip)
        assert without.cls is None
        np.testing.assert_array_equal(found.tokens, without.tokens)


@pytest.mark.parametrize(
    ("gain", "problem"),
    [
        (1e6, r"reach [\d.]+e\+05 on .*/a\.wav; float16.* holds 6\.1e-05 to 65504"),
        (1e-5, r"1 clips reach at most [\d.]+e-0[56] when rounded"),
        (1e-9, r"1 clips reach at most 0 when rounded"),
    ],
)
def test_tokens_that_float16_cannot_hold(tmp_path: Path, gain: float, problem: str) -> None:
    card = write_encoder(tmp_path / "encoder", gain=gain)
    sound = write_clip(tmp_path / "a.wav")
    for _ in range(2):  # from the encoder, then from the cache
        with pytest.raises(EncoderError, match=problem) as caught:
            TokenCache(tmp_path / "cache", card).encode([sound])
        assert "components are around 1" in str(caught.value.hint)


def test_a_silent_clip_may_vanish_and_what_was_encoded_before_a_failure_is_kept(
    tmp_path: Path, cache: TokenCache
) -> None:
    quiet = write_clip(tmp_path / "quiet.wav", gain=1e-12)
    loud = write_clip(tmp_path / "loud.wav", gain=1e6)
    good = [write_clip(tmp_path / f"{n}.wav", seed=n) for n in range(20)]
    assert len(cache.encode([quiet, good[0]]).clips) == 2
    with pytest.raises(EncoderError, match=r"loud\.wav"):
        cache.encode([*good, loud])
    kept = len(good) - cache.encode(good).n_encoded
    assert 1 <= kept <= 20
    assert cache.encode(good).n_encoded == 0


def test_parts_and_channels_are_kept_apart(tmp_path: Path, card: EncoderCard) -> None:
    whole = write_clip(tmp_path / "a.wav", 400)
    cache = TokenCache(tmp_path / "cache", card)
    part = Clip(whole.path, (), "a", start_s=1.0, end_s=2.0)
    assert len(cache.tokens(whole).tokens) == 400
    assert len(cache.tokens(part).tokens) == 100
    assert cache.encode([whole, part, replace(whole, start_s=0.0)]).n_encoded == 0
    samples, _ = sf.read(whole.path, dtype="float32")
    alone = Clip(tmp_path / "part.wav", (), "part")
    sf.write(alone.path, samples[RATE : 2 * RATE], RATE, subtype="FLOAT")
    np.testing.assert_array_equal(cache.tokens(alone).tokens, cache.tokens(part).tokens)
    stereo = tmp_path / "stereo.wav"
    sf.write(stereo, np.stack([0 * samples, samples], axis=1), RATE, subtype="FLOAT")
    left, right = (
        TokenCache(tmp_path / "cache", card, channel=n).encode([Clip(stereo, (), "s"), whole])
        for n in (0, 1)
    )
    assert not left.tokens[0].tokens.any()
    np.testing.assert_array_equal(right.tokens[0].tokens, cache.tokens(whole).tokens)


def test_chunks_of_a_part_lie_in_it(tmp_path: Path, card: EncoderCard) -> None:
    whole = write_clip(tmp_path / "a.wav", 10)
    part = replace(whole, start_s=0.025, end_s=0.055)
    chunks = [chunk.samples for chunk in clip_chunks(part, card.spec, None)]
    np.testing.assert_array_equal(np.concatenate(chunks), noise(10, 0)[400:880])
    assert N_DIMS * N_TIME * N_FREQ == CHUNK


def test_a_whole_file_that_was_cut_off_is_no_clip_but_a_part_of_it_is(
    tmp_path: Path, cache: TokenCache
) -> None:
    cut = write_clip(tmp_path / "cut.wav", 4)
    cut.path.write_bytes(cut.path.read_bytes()[: -2 * CHUNK * 4])
    parts = [replace(cut, start_s=0.0, end_s=0.02), replace(cut, start_s=0.01, end_s=0.025)]
    encoded = cache.encode([cut, *parts])
    assert encoded.clips == parts[:1]
    assert encoded.unreadable == [f"{cut.path}: the file is cut off after 0.020 s"] * 2
    np.testing.assert_array_equal(
        encoded.tokens[0].tokens,
        np.stack([token_map(part) for part in noise(4, 0)[: 2 * CHUNK].reshape(2, CHUNK)]),
    )


@pytest.mark.parametrize(("start_s", "end_s"), [(None, 1e-6), (0.5, 9.0)])
def test_a_part_without_a_sample_is_named(
    tmp_path: Path, cache: TokenCache, start_s: float | None, end_s: float
) -> None:
    part = replace(write_clip(tmp_path / "a.wav"), start_s=start_s, end_s=end_s)
    with pytest.raises(EdgeProbeError, match=f"no sample lies between {start_s or 0:g} s and"):
        cache.tokens(part)


def test_a_clip_that_the_encoder_makes_nan_of_is_named(tmp_path: Path) -> None:
    cache = TokenCache(tmp_path / "cache", write_encoder(tmp_path / "encoder", gain=np.nan))
    with pytest.raises(EncoderError, match=r"a\.wav: .*NaN or infinite"):
        cache.tokens(write_clip(tmp_path / "a.wav"))


def test_unreadable_clips_are_listed_and_stop_nothing(tmp_path: Path, cache: TokenCache) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    os.mkfifo(tmp_path / "pipe.wav")
    not_utf8 = Path(os.fsdecode(b"%s/M\xf6we.wav" % os.fsencode(tmp_path)))
    write_clip(tmp_path / "moewe.wav", seed=1).path.rename(not_utf8)
    bad = [
        Clip(tmp_path / "pipe.wav", (), ""), Clip(tmp_path / "text.wav", (), ""),
        Clip(tmp_path / "none.wav", (), ""), Clip(tmp_path, (), ""),
        write_clip(tmp_path / "short.wav", 0.01),
        replace(write_clip(tmp_path / "a.wav"), start_s=9.0, end_s=10.0),
        Clip(tmp_path / "slow.wav", (), ""),
    ]  # fmt: skip
    sf.write(tmp_path / "slow.wav", noise(2, 5), 900)
    good = [write_clip(tmp_path / "good.wav", seed=2), Clip(not_utf8, (), "")]
    encoded = cache.encode([*bad, *good])
    assert encoded.clips == good
    assert (len(encoded.tokens), encoded.n_encoded) == (len(good), len(good))
    for clip, line in zip(bad, encoded.unreadable, strict=True):
        assert line.startswith(f"{clip.path}: ")
        assert "\n" not in line
    with pytest.raises(EdgeProbeError, match=f"none of {len(bad)} clips"):
        cache.encode(bad)
    with pytest.raises(EdgeProbeError) as caught:
        cache.encode([bad[1]])
    assert "ffmpeg" in str(caught.value.hint)  # what mends this one clip
    mended = write_clip(tmp_path / "text.wav", seed=3)
    assert cache.encode([mended, *good]).n_encoded == 1
