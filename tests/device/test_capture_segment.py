"""A segment grows by whole blocks, and is what it was given in the end."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.capture.segment import (
    BLOCK_BYTES,
    PART,
    Format,
    SegmentFile,
    finish_part,
    header,
)
from edge_probe.source.wav import HEADER_BYTES

formats = st.builds(Format, st.just(48_000), st.integers(1, 8), st.integers(2, 4))


def frames(format_: Format, first: int, n_frames: int) -> bytes:
    """Such as are told from each other and from zeros."""
    return b"".join(
        (one % 255 + 1).to_bytes(1, "little") * format_.frame_bytes
        for one in range(first, first + n_frames)
    )


@given(formats, st.lists(st.integers(0, 3000), max_size=12), st.booleans())
def test_what_is_safe_is_in_whole_blocks(
    tmp_path_factory: pytest.TempPathFactory, format_: Format, amounts: list[int], dies: bool
) -> None:
    path = tmp_path_factory.mktemp("audio") / "00000-000000-000000000000_unset.wav"
    part = path.with_name(path.name + PART)
    n_planned = sum(amounts)
    segment = SegmentFile(path, format_, n_planned)
    for n_frames in amounts:
        segment.write(frames(format_, segment.n_frames, n_frames))
        segment.sync()
        n_bytes = part.stat().st_size
        assert n_bytes % BLOCK_BYTES == 0
        assert segment.n_synced == max(0, n_bytes - HEADER_BYTES) // format_.frame_bytes
        n_given = HEADER_BYTES + segment.n_frames * format_.frame_bytes
        assert n_given - n_bytes < BLOCK_BYTES
    if dies:
        n_kept = finish_part(part, format_)
        assert n_kept == segment.n_synced
        assert path.exists() == (n_kept > 0)
        segment.abandon()
    else:
        segment.close()
        n_kept = n_planned
    if path.exists():
        assert path.read_bytes() == header(format_, n_kept) + frames(format_, 0, n_kept)


def test_a_segment_that_ends_early_says_so(tmp_path: Path) -> None:
    format_ = Format(8000, 1, 2)
    segment = SegmentFile(tmp_path / "a.wav", format_, 8000)
    segment.write(frames(format_, 0, 5))
    segment.close()
    assert (tmp_path / "a.wav").read_bytes() == header(format_, 5) + frames(format_, 0, 5)


@pytest.mark.parametrize("dies", [True, False])
def test_blocks_are_taken_at_the_beginning_and_given_back(tmp_path: Path, dies: bool) -> None:
    format_ = Format(8000, 1, 2)
    segment = SegmentFile(tmp_path / "a.wav", format_, 500_000)
    part = tmp_path / ("a.wav" + PART)
    assert part.stat().st_size == 0
    assert 512 * part.stat().st_blocks >= 1_000_000
    n_frames = (3 * BLOCK_BYTES - HEADER_BYTES) // format_.frame_bytes
    segment.write(frames(format_, 0, n_frames))
    if dies:
        segment.abandon()
        assert finish_part(part, format_) == n_frames
    else:
        segment.close()
    assert (tmp_path / "a.wav").stat().st_size == 3 * BLOCK_BYTES
    assert 512 * (tmp_path / "a.wav").stat().st_blocks < 1_000_000
