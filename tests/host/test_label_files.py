"""Raven tables and Audacity tracks: columns, views, bands, and what is wrong with them."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from export.clips import ClipsError, read_clips
from export.clips.annotation import Annotation
from export.clips.audacity import read_labels
from export.clips.raven import LABELS, read_selections

RATE = 8_000
HEAD = "Begin Time (s)\tEnd Time (s)\tAnnotation\n"


def refused(folder: Path, name: str, text: str) -> str:
    """Message and hint for labels beside a recording of 10 s."""
    sf.write(folder / "a.wav", np.zeros(10 * RATE), RATE)
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ClipsError) as caught:
        read_clips(folder, window_s=2.0)
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith(f"{folder / name}: ")
    return f"{caught.value.message} {caught.value.hint}".removeprefix(f"{folder / name}: ")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "1\t2\tOwl\n0\t10.5\tOwl\n", "line 3: ends at 10.5 s, but the recording is 10 s"),
        (HEAD + "-1\t2\tOwl\n", "line 2: start is '-1', not a time"),
        (HEAD + "nan\t2\tOwl\n", "line 2: start is 'nan', not a time"),
        (HEAD + "2\t1\tOwl\n", "line 2: expected start <= end, found 2.0 and 1.0"),
        (HEAD + "1,5\t2\tOwl\n", "write decimals with a point"),
        (HEAD + "1\t2\t \n", "line 2: the label is empty"),
        (HEAD + "1\t2\tOwl_\n", "line 2: 'Owl_' is no name of a class"),
        (HEAD + "1\t2\t-Owl\n", "line 2: expected a class, found '-Owl'"),
        (HEAD + "1\t2\tbackground\n", "line 2: expected a class, found 'background'"),
        (HEAD + "1\t2\n", "line 2: expected 3 fields as in the header, found 2"),
        ("Begin Time (s);End Time (s);Label\n1;2;Owl\n", "separated by ';'"),
        ("Begin Time (s)\tEnd Time (s)\tKind\n", "found Begin Time (s), End Time (s), Kind"),
        ("Begin Time (s)\tAnnotation\n", "expected the columns Begin Time (s), End Time (s)"),
        ("", "found none"),
        (HEAD.replace("End", "Begin"), "the column Begin Time (s) stands twice"),
        (HEAD.replace("Ann", "Low Freq (Hz)\tAnn") + "1\t2\tx\tOwl\n", "'x', not a number of Hz"),
        (HEAD.replace("Ann", "File Offset (s)\tAnn") + "1\t2\t\tOwl\n", "File Offset (s) is ''"),
    ],
)
def test_bad_raven_table_says_what_and_where(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refused(tmp_path, "a.selections.txt", text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1\t2\tOwl\n9\t11\tOwl\n", "line 2: ends at 11.0 s, but the recording is 10 s long"),
        ("-1\t2\tOwl\n", "line 1: start is '-1', not a time"),
        ("1\tinf\tOwl\n", "line 1: end is 'inf', not a time"),
        ("2\t1\tOwl\n", "line 1: expected start <= end, found 2.0 and 1.0"),
        ("1,5\t2,5\tOwl\n", "write decimals with a point"),
        ("1\t2\t\n", "line 1: the label is empty"),
        ("1\t2\n", "line 1: the label is empty"),
        ("1\t2\tOwl\t0.9\n", "line 1: expected start, end and label separated by tabs"),
        ("recorded in May\n", "line 1: expected start, end and label separated by tabs"),
        ("\\\t100\t200\n", "line 1: expected a label before this band"),
        ("1\t2\tOwl\n\\\t100\t200\n\\\t100\t200\n", "line 3: expected a label before this band"),
        ("1\t2\tOwl\n\\\t100\n", "line 2: expected start, end and label separated by tabs"),
        ("1\t2\tOwl\n\\\t100\thigh\n", "line 2: the frequency is 'high', not a number of Hz"),
    ],
)
def test_bad_label_track_says_what_and_where(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in refused(tmp_path, "a.txt", text)


@pytest.mark.parametrize("name", ["b.selections.txt", "ab.selections.txt", "a_2.selections.txt"])
def test_table_without_a_recording(tmp_path: Path, name: str) -> None:
    assert "expected one recording of the table's name" in refused(tmp_path, name, HEAD)


def test_two_recordings_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    assert "found a.flac, a.wav" in refused(tmp_path, "a.txt", "1\t2\tOwl\n")


def test_recording_that_must_be_converted(tmp_path: Path) -> None:
    (tmp_path / "b.mp3").touch()
    assert "found b.mp3" in refused(tmp_path, "b.txt", "1\t2\tOwl\n")


def test_first_known_column_is_the_label(tmp_path: Path) -> None:
    table = tmp_path / "a.selections.txt"
    for first, second in itertools.pairwise(LABELS):
        table.write_text(f"{second}\tBegin Time (s)\t{first}\tEnd Time (s)\ntwo\t1\tone\t2\n")
        (selection,) = read_selections(table)
        assert selection.annotation == Annotation(1.0, 2.0, "one")


def test_views_of_one_selection_count_once(tmp_path: Path) -> None:
    """Rows that differ in anything but the view are annotations of their own."""
    table = tmp_path / "a.selections.txt"
    table.write_bytes(
        b"\xef\xbb\xbfSelection\tView\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tSpecies\r\n"
        b"1\tWaveform 1\t1.0\t2.0\t500.0\tOwl\r\n"
        b"1\tSpectrogram 1\t1.0\t2.0\t500.0\tOwl\r\n"
        b"2\tSpectrogram 1\t1.0\t2.0\t900.0\tOwl\r\n"
        b"\r\n"
        b"1\tSpectrogram 1\t3.0\t4.0\t500.0\tOwl\r\n"
    )
    selections = read_selections(table)
    assert [each.annotation for each in selections] == [
        Annotation(1.0, 2.0, "Owl", 500.0), Annotation(1.0, 2.0, "Owl", 900.0),
        Annotation(3.0, 4.0, "Owl", 500.0),
    ]  # fmt: skip
    assert [each.where.rpartition(" ")[2] for each in selections] == ["2", "4", "6"]


def test_band_and_point_of_a_label_track(tmp_path: Path) -> None:
    track = tmp_path / "a.txt"
    track.write_bytes(b"1.5\t1.5\t Owl \r\n\\\t-1.000\t900.5\r\n2\t3\tWren\r\n")
    assert read_labels(track) == [
        (f"{track}: line 1", Annotation(1.5, 1.5, "Owl", None, 900.5)),
        (f"{track}: line 3", Annotation(2.0, 3.0, "Wren")),
    ]


def test_a_real_label_track(shared: Path, tmp_path: Path) -> None:
    """The spinetail recording of scikit-maad, with its 18 labels."""
    for kind in (".flac", ".txt"):
        name = f"maad_spinetail{kind}"
        (tmp_path / name).symlink_to(shared / "soundscapes" / name)
    labels = [annotation for _, annotation in read_labels(tmp_path / "maad_spinetail.txt")]
    assert len(labels) == 18
    assert all(label.low_hz and label.high_hz for label in labels)
    clips = read_clips(tmp_path, window_s=1.0)
    assert clips.labels == ("CRER", "SP")
    first = clips.clips[0]
    assert (first.labels, first.unknown) == (("SP",), ("CRER",))  # 0.49 s of 2.53 s of a CRER
