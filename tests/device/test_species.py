"""The species list: seasons that wrap the year, and files that people really have."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.deployment.species import SpeciesList, _Season
from edge_probe.errors import DeploymentError

LABELS = ("Parus major_Great Tit", "Apus apus_Common Swift", "noise")
HEAD = "label,from_mmdd,to_mmdd,min_score\n"


def read(path: Path, text: str | bytes) -> SpeciesList:
    file = path / "species.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return SpeciesList.read(file, LABELS)


def test_a_label_is_allowed_in_its_seasons_from_its_score_on(tmp_path: Path) -> None:
    species = read(
        tmp_path,
        HEAD + "Apus apus_Common Swift,0415,0831,0.5\nApus apus_Common Swift,0901,0930,0.9\n"
        "Parus major_Great Tit,1101,0228,\n",
    )
    swift, tit = LABELS[1], LABELS[0]
    assert species.allows(swift, date(2026, 4, 15), 0.5)
    assert not species.allows(swift, date(2026, 4, 14), 0.5)
    assert not species.allows(swift, date(2026, 8, 31), 0.499)
    assert species.allows(swift, date(2026, 9, 1), 0.9)
    assert not species.allows(swift, date(2026, 9, 1), 0.5)
    assert species.allows(tit, date(2026, 12, 31), 0.0)
    assert species.allows(tit, date(2027, 1, 1), 0.0)
    assert not species.allows(tit, date(2028, 2, 29), 1.0)
    assert not species.allows("noise", date(2026, 12, 31), 1.0)


def test_without_a_trusted_clock_the_season_is_not_asked(tmp_path: Path) -> None:
    species = read(tmp_path, HEAD + "Apus apus_Common Swift,0415,0831,0.5\n")
    assert species.allows(LABELS[1], None, 0.5)
    assert not species.allows(LABELS[1], None, 0.4)
    assert not species.allows(LABELS[0], None, 1.0)


@given(st.dates(date(2023, 1, 1), date(2028, 12, 31)), st.integers(0, 365), st.integers(0, 365))
def test_a_season_is_the_days_from_its_first_to_its_last(day: date, a: int, b: int) -> None:
    first, last = (date(2024, 1, 1) + timedelta(n) for n in (a, b))
    season = _Season(100 * first.month + first.day, 100 * last.month + last.day, 0)
    walked, today = first, day.replace(year=2024)
    while walked not in (today, last):
        walked += timedelta(1)
        walked = walked.replace(year=2024) if walked.year != 2024 else walked
    assert season.holds(day) == (walked == today)


def test_what_spreadsheets_write_is_accepted(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + (HEAD + 'Apus apus_Common Swift,415,0831,.5\n"noise",,,1\n\n').encode()
    species = read(tmp_path, data.replace(b"\n", b"\r\n"))
    assert species.allows(LABELS[1], date(2026, 4, 15), 0.5)
    assert not species.allows(LABELS[1], date(2026, 4, 14), 0.5)
    assert species.allows("noise", date(2026, 1, 1), 1.0)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (HEAD.replace(",", ";"), "expected the columns", "commas, not semicolons"),
        ("label\n", "expected the columns", "first line"),
        ("", "expected the columns", "first line"),
        (HEAD, "no species", "suppressed"),
        (HEAD + "Parus mayor_Great Tit,,,\n", "line 2: 'Parus mayor_Great Tit' is no label",
         "did you mean Parus major_Great Tit?"),
        (HEAD + "noise,,,0,5\n", "line 2: expected 4 columns, found 5", "decimal point"),
        (HEAD + 'noise,,,"0,5"\n', "expected 0 to 1, found '0,5'", "decimal point"),
        (HEAD + "noise,,,1.1\n", "expected 0 to 1", "0.7"),
        (HEAD + "noise,,,nan\n", "expected 0 to 1", "0.7"),
        (HEAD + "noise,0230,0301,\n", "from_mmdd: expected a day", "0315"),
        (HEAD + "noise,0229,,\n", "to_mmdd: expected a day", "0315"),
        (HEAD + "noise,1 May,0630,\n", "from_mmdd: expected a day", "0315"),
        (HEAD + 'noise,"0229\n', "line 2", '""'),
        (HEAD + "noise,,,0.5\nnoise,0101,1231,0.9\n", "line 3: noise has these days", "one of"),
        (HEAD.encode() + b"M\xfcller,,,\n", "expected UTF-8", "UTF-8"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, text: str | bytes, message: str, hint: str
) -> None:
    with pytest.raises(DeploymentError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="no such file"):
        SpeciesList.read(tmp_path / "none.csv", LABELS)
