"""CSV manifests: both spellings of columns, splits, negatives, and writing them."""

import os
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.bundle import Label
from export.clips import Clip, ClipsError, read_clips, write_manifest


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "clips.csv"
    path.write_bytes(text.encode())
    return path


def test_all_columns_in_their_other_spelling(tmp_path: Path) -> None:
    table = manifest(
        tmp_path,
        "\ufefffile,labels,start,end,split,fold,group\r\n"
        "a.wav,Wren; Owl,1,2.5,train,3,g\r\n"
        "b.wav,Owl;-Wren,,,validation,,\r\n"
        "c.wav,-Owl,,,test,,\r\n"
        "d.wav,Background,,,,,\r\n",
    )
    clips = read_clips(table)
    assert clips.clips == (
        Clip(tmp_path / "a.wav", ("Wren", "Owl"), "g", 1.0, 2.5, 3, "train"),
        Clip(tmp_path / "b.wav", ("Owl",), "b", split="validation", absent=("Wren",)),
        Clip(tmp_path / "c.wav", (), "c", split="test", absent=("Owl",)),
        Clip(tmp_path / "d.wav", (), "d"),
    )
    assert clips.n_background == 1
    known = [[clip.holds(label) for label in ("Owl", "Wren", "Tit")] for clip in clips.clips]
    assert known == [[True, True, False], [True, False, None], [False, None, None], [False] * 3]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,label,labels\na,b,b\n", "the column label or labels stands twice"),
        ("file,label,end_s,end\na,b,1,1\n", "the column end or end_s stands twice"),
        ("file,labels,spilt\na,b,test\n", "unknown column 'spilt' did you mean split?"),
        ("file,lables\na,b\n", "unknown column 'lables' did you mean label?"),
        ("file,label,end_time\na,b,1\n", "did you mean end_s?"),
        ("file,label,split\na,b,dev\n", "line 2: split is 'dev', not train, validation, test"),
        ("file,label,start\na,b,1_0\n", "start_s is '1_0', not a time"),
        ("file,label,start\na,b,٣\n", "start_s is '٣', not a time"),
        ("file,label,start\na,b,1e999\n", "start_s is '1e999', not a time"),
        ("file\tlabel\na\tb\n", "the columns are separated by '\\t'"),
        ("file,label\na,Owl;-Owl\n", "line 2 is Owl and -Owl at once"),
        ("file,label\na,Owl\nb,Background;-Owl\n", "line 3 is Background and -Owl at once"),
        ("file,label\na,Owl\nb,-Wren\n", "-Wren is there, but no clip of Wren"),
        (
            "file,label\na,Owl\n./a,Wren\n",
            "line 3: holds Wren, but line 2, about the same audio, Owl what is heard",
        ),
        ("file,label,start,end\na,Owl,,3\na,Background,0,3\n", "line 3: holds Background, but"),
        ("file,label\na,Owl\na,-Owl\n", "line 3: holds -Owl, but line 2"),
        (
            "file,label,start,end,group\na,Owl,0,3,x\na,Owl,3,,y\na,Owl,2.9,4,x\n",
            "line 4: is of the group 'x', but line 3, about some of the same audio, of 'y'",
        ),
        ("file,label,group\na,Owl,\na,Owl,x\n", "line 3: is of the group 'x', but line 2"),
        ("file,label\na,Owl\nb,- \n", "expected a class after the '-', found '-'"),
    ],
)
def test_bad_manifest_says_what_and_where(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ClipsError) as caught:
        read_clips(manifest(tmp_path, text))
    assert problem in f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in caught.value.message


def test_lines_about_one_file_that_do_not_contradict(tmp_path: Path) -> None:
    lines = [",Wren,0,3,x", ",Wren,0,3,x", ",-Owl,0,3,x", ",Owl,3,5,y", ",Owl;Wren,1,2,x"]
    text = "".join(f"a{line}\n" for line in lines)
    clips = read_clips(manifest(tmp_path, f"file,label,start,end,group\n{text}"))
    assert [clip.group for clip in clips.clips] == ["x", "x", "x", "y", "x"]


def test_clips_for_the_test_are_left_out_where_asked(tmp_path: Path) -> None:
    table = manifest(
        tmp_path,
        "file,label,split\na,Owl,train\nb,Owl,validation\nc,Owl,test\nd,Wren,test\ne,Owl,\n",
    )
    assert read_clips(table).labels == ("Owl", "Wren")
    clips = read_clips(table, without_test=True)
    assert [clip.path.name for clip in clips.clips] == ["a", "b", "e"]
    assert clips.labels == ("Owl",)
    (warning,) = clips.warnings
    assert "2 clips are for the test" in warning
    with pytest.raises(ClipsError, match="no labelled clip found outside the test"):
        read_clips(manifest(tmp_path, "file,label,split\na,Owl,test\n"), without_test=True)


@pytest.mark.parametrize("column", ["site", "plot", "time", "ind", "observer", "band", "notes"])
def test_common_columns_are_no_misspelt_ones(tmp_path: Path, column: str) -> None:
    assert read_clips(manifest(tmp_path, f"file,label,{column}\na.wav,b,x\n")).labels == ("b",)


_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters=";/"),
    min_size=1, max_size=9,
)  # fmt: skip
_LABEL = _TEXT.map(lambda name: normalize("NFC", name)).filter(
    lambda name: name[0] != "-" and name.casefold() != "background" and Label.parse(name).is_clean
)
_TIME = st.one_of(st.none(), st.floats(0, 1e6))


@st.composite
def any_clip(draw: st.DrawFn) -> tuple[str, Clip]:
    names = draw(st.lists(_LABEL, unique=True, max_size=3))
    n_heard = draw(st.integers(0, len(names)))
    start_s = draw(_TIME)
    end_s = draw(
        st.one_of(st.none(), st.floats(1, 1e6).map(lambda length: (start_s or 0) + length))
    )
    clip = Clip(
        Path(), tuple(names[:n_heard]), draw(_TEXT), start_s, end_s,
        draw(st.one_of(st.none(), st.integers(0, 99))),
        draw(st.sampled_from([None, "train", "validation", "test"])), tuple(names[n_heard:]),
    )  # fmt: skip
    return f"{draw(_TEXT)}.wav", clip


@given(st.lists(any_clip(), max_size=5, unique_by=lambda drawn: drawn[0]))
def test_written_manifest_reads_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, Clip]]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    named = [
        Clip(folder / "sub" / name, *(getattr(clip, field) for field in Clip.__match_args__[1:]))
        for name, clip in drawn
    ]
    heard = sorted({label for clip in named for label in (*clip.labels, *clip.absent)})
    clips = [*named, Clip(folder / "all.wav", (*heard, "Owl"), "g")]
    write_manifest(clips, folder / "clips.csv")
    assert list(read_clips(folder / "clips.csv").clips) == clips


def test_manifest_names_files_elsewhere_in_full(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    clips = [
        Clip(tmp_path / "a.wav", ("Owl",), "a", split="test"),
        Clip(tmp_path / "b.wav", (), "b"),
    ]
    write_manifest(clips, tmp_path / "tables" / "clips.csv")
    text = (tmp_path / "tables" / "clips.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "file,labels,split,group"
    assert text.splitlines()[2] == f"{tmp_path / 'b.wav'},Background,,b"
    assert read_clips(tmp_path / "tables" / "clips.csv").clips == tuple(clips)


@pytest.mark.parametrize(
    "clip",
    [Clip(Path("a"), ("Owl;Wren",), "a"), Clip(Path("a"), ("-Owl",), "a"),
     Clip(Path("a"), (" Owl",), "a"), Clip(Path("a"), ("Background",), "a"),
     Clip(Path("a"), (), "a", unknown=("Owl",))],
)  # fmt: skip
def test_what_a_manifest_cannot_say_is_not_written(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(ClipsError, match="a manifest cannot say"):
        write_manifest([clip], tmp_path / "clips.csv")
    assert not (tmp_path / "clips.csv").exists()


def test_file_name_that_is_not_utf8_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"M\xf6we.wav")
    with pytest.raises(ClipsError, match="not UTF-8"):
        write_manifest([Clip(path, ("Owl",), "a")], tmp_path / "clips.csv")
