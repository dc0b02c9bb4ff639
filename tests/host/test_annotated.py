"""Strong labels: Raven tables and Audacity tracks, and the windows recordings are cut into."""

import contextlib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from support.label_files import write_audacity, write_raven

from edge_probe.bundle.labels import Label
from export.cli import main
from export.clips import ClipsError, read_clips
from export.clips.annotated import cut_windows
from export.clips.annotation import Annotation
from export.clips.audacity import read_labels
from export.clips.raven import read_selections

RATE = 8_000


def record(path: Path, seconds: float = 10.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.zeros((round(seconds * RATE), 1 + path.stem.endswith("stereo"))), RATE)
    return path


_LABEL = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(
        lambda name: (
            name[0] != "-" and name.casefold() != "background" and Label.parse(name).is_clean
        )
    )
)  # other spellings of the same letters are read as these
_HERTZ = st.one_of(st.none(), st.floats(0, 1e5))
_ANNOTATION = st.builds(
    lambda start_s, length_s, *rest: Annotation(start_s, start_s + length_s, *rest),
    st.floats(0, 100), st.one_of(st.just(0.0), st.floats(0, 9)), _LABEL, _HERTZ, _HERTZ,
)  # fmt: skip


@given(st.lists(_ANNOTATION, max_size=6))
def test_written_tables_read_back(
    tmp_path_factory: pytest.TempPathFactory, annotations: list[Annotation]
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    write_raven(folder / "a.selections.txt", annotations)
    write_audacity(folder / "a.txt", annotations)
    raven = read_selections(folder / "a.selections.txt")
    assert [each.annotation for each in raven] == annotations
    assert [annotation for _, annotation in read_labels(folder / "a.txt")] == annotations


_FIELD = st.one_of(
    st.sampled_from(["0.1", "0", "-1", "\\", "", " ", "Owl", "nan", "1e400", "1,5", "a.wav",
                     "C:\\b", "a" * 300, "é;", "Begin File", "Selection", "\r", "\0"]),
    st.text(max_size=3),
)  # fmt: skip
_ROWS = st.lists(st.lists(_FIELD, max_size=5).map("\t".join), max_size=5).map("\n".join)
_HEAD = st.sampled_from(["", "Begin Time (s)\tEnd Time (s)\tLabel\n",
                         "Begin Time (s)\tEnd Time (s)\tLabel\tBegin File\n"])  # fmt: skip


@given(st.one_of(st.binary(max_size=99), st.builds(lambda h, r: (h + r).encode(), _HEAD, _ROWS)))
def test_no_bytes_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("any")
    record(folder / "a.wav", 0.1)
    for name in ("a.txt", "a.selections.txt"):
        (folder / name).write_bytes(data)
        for path in (folder, folder / name):
            with contextlib.suppress(ClipsError):
                read_clips(path, window_s=1.0)
        (folder / name).unlink()


@given(
    st.floats(0.01, 60), st.floats(0.02, 7),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from("ab")), max_size=8),
)  # fmt: skip
def test_windows_cover_a_recording_and_hear_every_annotation(
    duration_s: float, window_s: float, spans: list[tuple[float, float, str]]
) -> None:
    annotations = [
        Annotation(min(x, y) * duration_s, max(x, y) * duration_s, label) for x, y, label in spans
    ]
    windows = cut_windows(Path("rec_1.wav"), duration_s, annotations, window_s)
    edges = [(clip.start_s or 0.0, clip.end_s or 0.0) for clip in windows]
    assert edges[0][0] == 0
    assert edges[-1][1] == duration_s
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    lengths = [end - start for start, end in edges]
    assert np.allclose(lengths[:-1], window_s)
    assert 0.499 * window_s < lengths[-1] < 1.501 * window_s or len(windows) == 1
    for clip, (start_s, end_s) in zip(windows, edges, strict=True):
        for label in "ab":
            inside = [
                (min(a.end_s, end_s) - max(a.start_s, start_s), a.end_s - a.start_s)
                for a in annotations
                if a.label == label
            ]
            if clip.holds(label):
                assert any(s > min(n, end_s - start_s) / 2 - 1e-5 for s, n in inside)
            elif clip.holds(label) is None:
                assert any(s > 0 for s, _ in inside)
            else:
                assert all(s < 1e-5 for s, _ in inside)
    heard = {label for clip in windows for label in clip.labels}
    assert heard == {annotation.label for annotation in annotations}
    assert {clip.group for clip in windows} == {"rec"}


def test_what_each_window_holds() -> None:
    annotations = [
        Annotation(1.5, 2.1, "brush"), Annotation(2.5, 3.5, "half"), Annotation(0.5, 7.2, "long"),
        Annotation(8.0, 8.0, "point"), Annotation(10.5, 10.5, "end"),
    ]  # fmt: skip
    windows = cut_windows(Path("a.wav"), 10.5, annotations, 2.0)
    assert [clip.labels for clip in windows] == [
        ("brush", "long"), ("half", "long"), ("long",), ("long",), ("end", "point"),
    ]  # fmt: skip
    assert [clip.unknown for clip in windows] == [(), ("brush",), (), (), ()]
    half = cut_windows(Path("a.wav"), 6.0, [Annotation(1.0, 3.0, "half")], 2.0)
    assert [clip.labels for clip in half] == [("half",), ("half",), ()]
    assert [clip.is_background for clip in half] == [False, False, True]


def test_folder_of_annotated_recordings(tmp_path: Path) -> None:
    record(tmp_path / "site_1.wav")
    record(tmp_path / "site_10.flac")
    record(tmp_path / "deep" / "night stereo.wav", 4.0)
    record(tmp_path / "silent.wav", 2.0)
    record(tmp_path / "unlabelled.wav")
    (tmp_path / "old.mp3").touch()
    (tmp_path / "README.txt").write_text("not a label track")
    write_raven(tmp_path / "site_1.Table.1.selections.txt", [Annotation(0.5, 1.5, "Owl")])
    write_raven(tmp_path / "site_1.Table.2.selections.txt", [Annotation(8.5, 9.0, "Wren")])
    write_raven(tmp_path / "site_10.selections.txt", [Annotation(2.9, 5.0, "Owl")])
    write_audacity(tmp_path / "deep" / "night stereo.txt", [Annotation(0.0, 4.0, "Wren")])
    (tmp_path / "silent.txt").write_bytes(b"")
    clips = read_clips(tmp_path, window_s=2.0)
    found = {(c.path.name, c.start_s): (c.labels, c.unknown) for c in clips.clips}
    assert len(found) == len(clips.clips) == 5 + 5 + 2 + 1
    assert found["site_1.wav", 0.0] == (("Owl",), ())
    assert found["site_1.wav", 8.0] == (("Wren",), ())
    assert found["site_10.flac", 2.0] == (("Owl",), ())
    assert found["site_10.flac", 4.0] == (("Owl",), ())
    assert found["night stereo.wav", 2.0] == (("Wren",), ())
    assert found["silent.wav", 0.0] == ((), ())
    assert clips.n_background == 1 + 3 + 3
    assert {clip.group for clip in clips.clips} == {"site", "night stereo", "silent"}
    assert sorted(clips.left_out) == [
        f"{tmp_path / 'old.mp3'}: .mp3 files are not read",
        f"{tmp_path / 'unlabelled.wav'}: has no labels beside it",
    ]
    with pytest.raises(ClipsError, match="no window length"):
        read_clips(tmp_path)


def test_unreadable_recording_is_left_out(tmp_path: Path) -> None:
    write_audacity(record(tmp_path / "a.wav").with_suffix(".txt"), [Annotation(0, 1, "Owl")])
    (tmp_path / "b.wav").write_bytes(b"noise")
    (tmp_path / "b.txt").write_text("0\t1\tOwl\n")
    clips = read_clips(tmp_path, window_s=5.0)
    assert [clip.path.name for clip in clips.clips] == ["a.wav", "a.wav"]
    (line,) = clips.left_out
    assert line.startswith(f"{tmp_path / 'b.wav'}: ")


def test_one_table_of_several_files(tmp_path: Path) -> None:
    """Begin Time counts from the first file, File Offset from the row's own."""
    record(tmp_path / "one_1.wav")
    two = record(tmp_path / "deep" / "two_1.wav")
    table = tmp_path / "all.txt"
    table.write_text(
        "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tBegin Path\tFile Offset (s)\tType\n"
        "1\t2.0\t3.0\tone_1.wav\tC:\\gone\\one_1.wav\t2.0\tOwl\n"
        "2\t16.0\t17.0\ttwo_1.wav\tdeep\\two_1.wav\t6.0\tWren\n"
    )
    clips = read_clips(table, window_s=5.0)
    assert [(c.path, c.start_s, c.labels) for c in clips.clips] == [
        (two, 0.0, ()), (two, 5.0, ("Wren",)),
        (tmp_path / "one_1.wav", 0.0, ("Owl",)), (tmp_path / "one_1.wav", 5.0, ()),
    ]  # fmt: skip
    assert clips.left_out == ()
    text = table.read_text().replace("File Offset (s)", "Offset")
    table.write_text(text)
    with pytest.raises(ClipsError, match="has no column File Offset"):
        read_clips(table, window_s=5.0)


def test_table_whose_audio_was_converted(tmp_path: Path) -> None:
    record(tmp_path / "night.flac")
    table = tmp_path / "night.selections.txt"
    rows = "Begin Time (s)\tEnd Time (s)\tBegin File\tType\n1\t2\t{}.wav\tsong\n"
    table.write_text(rows.format("night"))
    for path in (tmp_path, table):
        assert read_clips(path, window_s=5.0).clips[0].labels == ("song",)
    table.write_text(rows.format("other"))
    with pytest.raises(ClipsError, match=r"line 2: expected one recording .* found other.wav"):
        read_clips(tmp_path, window_s=5.0)


def test_tokens_command_cuts_by_the_chunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chunks of the demonstration encoder are 1.28 s long: 4 s are three windows."""
    sound = np.random.default_rng(0).normal(size=4 * RATE) / 10
    sf.write(tmp_path / "a.wav", sound, RATE)
    write_audacity(tmp_path / "a.txt", [Annotation(0.5, 3.0, "Owl")])
    assert main(["tokens", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 0
    assert "3 clips of 1 classes are encoded" in capsys.readouterr().out
