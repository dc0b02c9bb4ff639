"""The species list: which labels are believed at which time of the year, from which score on.

What it does not allow is stored as suppressed; nothing is thrown away because of a list.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from re import fullmatch
from typing import NamedTuple, NoReturn, Self

from edge_probe.errors import DeploymentError

COLUMNS = ["label", "from_mmdd", "to_mmdd", "min_score"]


class _Season(NamedTuple):
    """Days of a year, both ends included."""

    first: int
    """100 * month + day."""
    last: int
    """Before `first`: over the turn of the year."""
    min_score: float

    def holds(self, day: date) -> bool:
        today = 100 * day.month + day.day
        if self.first <= self.last:
            return self.first <= today <= self.last
        return today >= self.first or today <= self.last


class SpeciesList:
    """A list that was read.

    Parameters
    ----------
    seasons : mapping of label to its seasons
    """

    def __init__(self, seasons: Mapping[str, list[_Season]]) -> None:
        self._seasons = seasons

    @classmethod
    def read(cls, path: Path, labels: Collection[str]) -> Self:
        """Read ``species.csv``.

        Parameters
        ----------
        path : Path
            RFC 4180 with the header ``label,from_mmdd,to_mmdd,min_score``; a label may have
            several rows. Both dates empty: the whole year. ``min_score`` empty: any score. UTF-8;
            a byte order mark and CRLF are accepted, and so is a first zero of a date that a
            spreadsheet took away.
        labels : collection of str
            Full labels of the bundle.

        Raises
        ------
        DeploymentError
            It cannot be read, or says something that cannot be meant.
        """
        seasons: dict[str, list[_Season]] = {}
        for where, (label, first, last, min_score) in _rows(path):
            if label not in labels:
                near = get_close_matches(label, labels, n=1)
                _refuse(
                    f"{where}: {label!r} is no label of the bundle",
                    f"did you mean {near[0]}?" if near else "edge-probe info shows its labels",
                )
            season = _Season(*_days(where, first, last), _score(where, min_score))
            told = seasons.setdefault(label, [])
            if any(season[:2] == other[:2] for other in told):
                _refuse(f"{where}: {label} has these days already", "keep one of the rows")
            told.append(season)
        if not seasons:
            _refuse(f"{path}: no species in it", "every detection would be suppressed")
        return cls(seasons)

    def allows(self, label: str, utc_date: date | None, score: float) -> bool:
        """Whether a detection is believed; if not, it is to be stored as suppressed.

        Parameters
        ----------
        label : str
        utc_date : date or None
            None while the clock is not trusted: then the season is not asked.
        score : float
            As displayed: calibrated, or the sigmoid of the logit.
        """
        return any(
            score >= season.min_score and (utc_date is None or season.holds(utc_date))
            for season in self._seasons.get(label, ())
        )


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each row with its place in the file, for messages."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        _refuse(f"{path}: no such file", f"write one with the columns {','.join(COLUMNS)}")
    except UnicodeDecodeError as error:
        _refuse(
            f"{path}: expected UTF-8, found other bytes at {error.start}", "save it as UTF-8 CSV"
        )
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        if header != COLUMNS:
            _refuse(
                f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header)}",
                "separate columns by commas, not semicolons" if ";" in "".join(header) else
                "the first line names the columns",
            )  # fmt: skip
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if not cells:
                continue
            if len(cells) != len(COLUMNS):
                _refuse(
                    f"{where}: expected {len(COLUMNS)} columns, found {len(cells)}",
                    "numbers have a decimal point, texts with a comma stand in \"quotes\"",
                )  # fmt: skip
            yield where, cells
    except csv.Error as error:
        _refuse(f"{path}, line {lines.line_num}: {error}", 'write " inside a text as ""')


def _days(where: str, first: str, last: str) -> tuple[int, int]:
    if first == last == "":
        return 101, 1231
    return _day(where, "from_mmdd", first), _day(where, "to_mmdd", last)


def _day(where: str, column: str, text: str) -> int:
    if fullmatch(r"[0-9]{3,4}", text):
        month, day = divmod(int(text), 100)
        try:
            date(2000, month, day)  # a leap year: the 29th of February is a day
        except ValueError:
            pass
        else:
            return int(text)
    _refuse(
        f"{where}: {column}: expected a day as MMDD, found {text!r}",
        "for example 0315; leave both dates empty for the whole year",
    )


def _score(where: str, text: str) -> float:
    if text == "":
        return 0.0
    if not fullmatch(r"[0-9]*\.?[0-9]+", text) or float(text) > 1:
        _refuse(
            f"{where}: min_score: expected 0 to 1, found {text!r}",
            "write a decimal point" if "," in text else "for example 0.7",
        )
    return float(text)


def _refuse(message: str, hint: str) -> NoReturn:
    raise DeploymentError(message, hint=hint)
