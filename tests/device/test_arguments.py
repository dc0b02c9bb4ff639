"""What options take, and what they say of anything else."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from edge_probe.arguments import between, moment, number, offset, whole


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "wanted"),
    [
        (number(0, 1), ["0", "1", "0.5", "1e-3"], ["-1", "1.1", "nan", "inf", "x", ""],
         "a number from 0 to 1"),
        (number(0), ["0", "1e300"], ["-1e-9", "inf", "nan"], "a number of 0 or more"),
        (between(0, 1), ["0.001", "0.999"], ["0", "1", "nan", "half"], "a number between 0 and 1"),
        (whole(1, 99), ["1", "99", "007"], ["0", "100", "1.0", "1e1", "+5", "1_0", "\u0663", ""],
         "a whole number from 1 to 99"),
        (whole(0), ["0", "123456"], ["-1", "9" * 100], "a whole number of 0 or more"),
    ],
)  # fmt: skip
def test_numbers(
    kind: Callable[[str], float], right: list[str], wrong: list[str], wanted: str
) -> None:
    assert [kind(text) for text in right] == [float(text) for text in right]
    for text in wrong:
        with pytest.raises(ArgumentTypeError) as refused:
            kind(text)
        assert str(refused.value) == f"expected {wanted}, found {text!r}"


def test_moments_and_offsets() -> None:
    assert moment("2026-06-01T04:00:00Z") == datetime(2026, 6, 1, 4, tzinfo=UTC)
    assert moment("2026-06-01T06:00+02:00") == moment("2026-06-01T04:00:00Z")
    assert offset("-03:30") == -timedelta(hours=3.5)
    assert offset("Z") == timedelta(0)
    for text in ("2026-06-01T04:00:00", "yesterday", "0001-01-01T00:00:00Z"):
        with pytest.raises(ArgumentTypeError, match="a time with its offset"):
            moment(text)
    for text in ("3", "", "Z+1", "+25:00"):
        with pytest.raises(ArgumentTypeError, match=r"such as \+01:00, found"):
            offset(text)
