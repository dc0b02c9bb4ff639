"""Labelled clips: folders, CSV manifests, and what is wrong with them."""

import contextlib
import csv
import io
import os
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.bundle import Label
from export.clips import Clip, ClipsError, read_clips, source_recording
from export.site_audio import recordings_below


def manifest(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "clips.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_folder_of_folders(tmp_path: Path) -> None:
    names = ["Parus major_Great Tit/a_1.wav", "Parus major_Great Tit/deep/a_2.FLAC",
             "Background/n.ogg", "Bubo bubo_Eagle Owl/b.wav", "Bubo bubo_Eagle Owl/notes.txt",
             "stray.wav"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = read_clips(tmp_path)
    assert clips.labels == ("Bubo bubo_Eagle Owl", "Parus major_Great Tit")
    assert clips.n_background == 1
    assert [clip.path.name for clip in clips.clips] == ["n.ogg", "b.wav", "a_1.wav", "a_2.FLAC"]
    assert clips.clips[2].group == clips.clips[3].group == "a"


def test_manifest(tmp_path: Path) -> None:
    table = manifest(
        tmp_path,
        "﻿file,label,start_s,end_s,fold,group\n"
        "a.wav,Great Tit;Eagle Owl,0,1.5,2,g\n"
        'sub/"b".wav, Eagle Owl ,,,,\n'
        "n.wav,Background,,,1,\n",
    )
    clips = read_clips(table)
    assert clips.labels == ("Eagle Owl", "Great Tit")
    assert clips.clips[0] == Clip(tmp_path / "a.wav", ("Great Tit", "Eagle Owl"), "g", 0.0, 1.5, 2)
    assert clips.clips[1].path == tmp_path / 'sub/"b".wav'
    assert clips.clips[1].labels == ("Eagle Owl",)
    assert clips.clips[1].start_s is None
    assert [clip.path.name for clip in read_clips(table, folds=[2]).clips] == ["a.wav"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected the columns file and label"),
        ("file;label\na;b\n", "separated by ';'"),
        ("file,species\na,b\n", "add label"),
        ("file,label\na.wav\n", "line 2 has another number of fields"),
        ("file,label\na.wav,b,c\n", "line 2 has another number of fields"),
        ("file,label\na.wav,\n", "line 2 lacks a file or a label"),
        ("file,label\n,b\n", "line 2 lacks a file or a label"),
        ("file,label\na.wav,Background;Owl\n", "is Background and Owl at once"),
        ("file,label\na.wav,Owl;Background\n", "is Background and Owl at once"),
        ('file,label\na.wav,"Eagle\nOwl"\n', "line 3: 'Eagle\\nOwl' is no name of a class"),
        ("file,label\na.wav,Owl;-_Owl\n", "line 2: '_Owl' is no name of a class"),
        (f"file,label\na.wav,{'o' * 201}\n", "1 to 200 printable characters"),
        ("file,label,start_s\na.wav,b,x\n", "start_s is 'x', not a time"),
        ('file,label,start_s\na.wav,b,"1,5"\n', "write decimals with a point"),
        ("file,label,start_s\na.wav,b,nan\n", "start_s is 'nan', not a time"),
        ("file,label,start_s\na.wav,b,-1\n", "start_s is '-1'"),
        ("file,label,start_s,end_s\na.wav,b,2,1\n", "found 2.0 and 1.0"),
        ("file,label,fold\na.wav,b,1.5\n", "fold is '1.5'"),
        ("file,label,fold\na.wav,b,٣\n", "fold is '٣'"),
        (f"file,label,fold\na.wav,b,{'1' * 5000}\n", "not a whole number"),
        ("file,label,file\na.wav,b,c.wav\n", "the column file stands twice"),
        ("file,label,strat_s\na.wav,b,1\n", "unknown column 'strat_s' did you mean start_s?"),
        ("File,label\na.wav,b\n", "did you mean file?"),
        ("file,label\na.wav,Owl\nn.wav,background\n", "line 3: expected Background"),
        ("file,label\na.wav,Owl;BACKGROUND\n", "line 2: expected Background"),
        ('file,label\na.wav,"b\n', "line"),
        ("file,label\na.wav,Background\n", "no labelled clip found"),
        (b"file,label\n\xff\xfe,b\n", "is not UTF-8"),
        (b"file,label\na\x00.wav,b\n", "NUL bytes"),
    ],
)
def test_bad_manifest_says_what_and_where(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(ClipsError) as caught:
        read_clips(manifest(tmp_path, text))
    assert problem in f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in caught.value.message


def test_columns_that_mean_nothing_to_us_are_ignored(tmp_path: Path) -> None:
    table = manifest(tmp_path, "file,label,filename,observer,,\na.wav,b,x.wav,me,,\n")
    assert read_clips(table).clips == (Clip(tmp_path / "a.wav", ("b",), "a"),)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_audio_of_other_kinds_is_listed_and_what_is_hidden_is_not(tmp_path: Path) -> None:
    kinds = [".mp3", ".M4A", ".aac", ".aif", ".aiff", ".opus", ".wma", ".mp4", ".caf", ".au"]
    touch(tmp_path, "Owl/a.wav", "Owl/notes.txt", ".git/b.wav", "Owl/.trash/c.wav")
    touch(tmp_path, "Owl/._a.wav", "Owl/._x.mp3", "Owl/._a.selections.txt", "Owl/._a.txt")
    touch(tmp_path, *(f"Owl/x{kind}" for kind in kinds))
    clips = read_clips(tmp_path)
    assert [clip.path for clip in clips.clips] == [tmp_path / "Owl" / "a.wav"]
    assert [line.split(": ")[0] for line in clips.left_out] == [
        str(tmp_path / "Owl" / f"x{kind}") for kind in sorted(kinds)
    ]


def test_hidden_recordings_are_no_audio_of_the_site(tmp_path: Path) -> None:
    touch(tmp_path, "card/._a.WAV", ".trash/b.wav", "card/a.WAV", "card/a.txt")
    assert recordings_below(tmp_path) == [tmp_path / "card" / "a.WAV"]


@pytest.mark.parametrize("name", ["Wren/x.mp3", "Wren/notes.txt", "Background/.hidden/a.wav"])
def test_class_folder_without_a_clip_is_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "Owl/a.wav", name)
    with pytest.raises(ClipsError, match=f"{name.split('/')[0]}: holds no"):
        read_clips(tmp_path)


def test_background_folder_in_another_case(tmp_path: Path) -> None:
    touch(tmp_path, "Owl/a.wav", "background/a.wav")
    with pytest.raises(ClipsError, match="expected Background, found 'background'"):
        read_clips(tmp_path)


def test_folder_name_that_is_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, "Owl/a.wav")
    os.mkdir(os.fsencode(tmp_path) + b"/M\xf6we")  # noqa: PTH102
    with pytest.raises(ClipsError, match="not UTF-8"):
        read_clips(tmp_path)


def test_names_that_tell_no_recordings_apart(tmp_path: Path) -> None:
    touch(tmp_path, "A/clip_0.wav", "B/clip_0.wav", "B/clip_1.wav", "Background/clip_0.wav")
    clips = read_clips(tmp_path)
    assert len({clip.group for clip in clips.clips}) == 4
    (warning,) = clips.warnings
    assert "'clip'" in warning
    assert "column group" in warning
    touch(tmp_path, "A/night_0.wav")
    clips = read_clips(tmp_path)
    assert {clip.group for clip in clips.clips} == {"clip", "night"}
    assert clips.warnings == ()


def test_segments_of_one_recording_stay_together(tmp_path: Path) -> None:
    """As BirdNET-Analyzer names them, in folders of species; of recordings of one day too."""
    touch(tmp_path, "Owl/0.91_7.wav", *(
        f"{species}/0.{score}_{number}_20240501_0{hour}0000_{begin}.0s_{begin + 3}.0s.wav"
        for species, hour in (("Owl", 4), ("Owl", 5), ("Wren", 4))
        for score, number, begin in ((912, 1, 0), (455, 2, 3))
    ))  # fmt: skip
    groups = {clip.path.name: clip.group for clip in read_clips(tmp_path).clips}
    assert set(groups.values()) == {"0.91", "20240501"}
    (tmp_path / "Owl" / "0.91_7.wav").unlink()
    clips = read_clips(tmp_path)
    (warning,) = clips.warnings
    assert "'20240501'" in warning
    assert {clip.group for clip in clips.clips} == {"20240501_040000", "20240501_050000"}


def test_one_class_has_one_name(tmp_path: Path) -> None:
    """Outer blanks, repetitions and decomposed letters make no class of their own."""
    touch(tmp_path, "Käuzchen/a.wav", "Ka\u0308uzchen /b.wav", "-Ka\u0308uzchen/c.wav")
    folders = read_clips(tmp_path)
    assert folders.labels == ("Käuzchen",)
    assert sorted(clip.holds("Käuzchen") is True for clip in folders.clips) == [False, True, True]
    table = manifest(tmp_path, "file,label\na.wav,Käuzchen;Ka\u0308uzchen;Owl;Owl\n")
    assert read_clips(table).clips[0].labels == ("Käuzchen", "Owl")


def test_negatives_of_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "Wren/a_1.wav", "Owl/c.wav", "-Owl/b_1.wav", "Background/d.wav")
    clips = read_clips(tmp_path)
    assert clips.labels == ("Owl", "Wren")
    assert clips.n_background == 1
    negative = clips.clips[0]
    assert negative == Clip(tmp_path / "-Owl" / "b_1.wav", (), "b", absent=("Owl",))
    assert [negative.holds(label) for label in clips.labels] == [False, None]
    assert [clips.clips[1].holds(label) for label in clips.labels] == [False, False]


@pytest.mark.parametrize(
    ("folder", "problem"),
    [("-Owls", "-Owls is there, but no clip of Owls did you mean -Owl?"),
     ("-Dipper", "-Dipper is there, but no clip of Dipper add clips of Dipper"),
     ("-Background", "expected Background, found '-Background'"),
     ("-", "expected a class after the '-'")],
)  # fmt: skip
def test_negatives_of_no_class(tmp_path: Path, folder: str, problem: str) -> None:
    touch(tmp_path, "Owl/a.wav", f"{folder}/b.wav")
    with pytest.raises(ClipsError) as caught:
        read_clips(tmp_path)
    assert problem in f"{caught.value.message} {caught.value.hint}"


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="no such folder"):
        read_clips(tmp_path / "none")
    with pytest.raises(ClipsError, match="no labelled clip"):
        read_clips(tmp_path)
    with pytest.raises(ClipsError, match=r"in folds \[7\]"):
        read_clips(manifest(tmp_path, "file,label,fold\na.wav,b,1\n"), folds=[7])


@given(st.binary(max_size=200))
def test_no_bytes_escape_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "clips.csv"
    path.write_bytes(data)
    with contextlib.suppress(ClipsError):
        read_clips(path)


_NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=";"),
    min_size=1, max_size=12,
).map(lambda name: normalize("NFC", name)).filter(
    lambda name: name[0] != "-" and name.casefold() != "background" and Label.parse(name).is_clean
)  # fmt: skip


@given(
    st.lists(
        st.tuples(_NAME, _NAME, st.integers(1, 5)),
        min_size=1,
        max_size=8,
        unique_by=lambda row: os.path.normpath(row[0]),
    )
)
def test_any_written_manifest_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, int]]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "label", "fold"])
    writer.writerows(rows)
    path = tmp_path_factory.mktemp("back") / "clips.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    clips = read_clips(path)
    assert [(clip.path, clip.labels, clip.fold) for clip in clips.clips] == [
        (path.parent / file, (label,), fold) for file, label, fold in rows
    ]


@pytest.mark.parametrize(
    ("name", "recording"),
    [("1-100032-A-0.ogg", "1-100032-A"), ("night3_0010.wav", "night3"), ("a.wav", "a"),
     ("_x.wav", "_x"), ("-.wav", "-"), ("20240501_043000.wav", "20240501"),
     ("0.913_7_owl_night_3.0s_6.0s.wav", "owl"), ("0.913_7_owl.wav", "owl"),
     ("1.000_12_20240501_043000_3.00s_6.00s.wav", "20240501"), ("owl_0s_5s.wav", "owl"),
     ("owl-0.0s-5.0s.wav", "owl"), ("_0s_5s.wav", "_0s"), ("0.913_7_.wav", "0.913_7")],
)  # fmt: skip
def test_source_recording(name: str, recording: str) -> None:
    assert source_recording(Path(name)) == recording
