"""Quality against prototypes per class: what is drawn is what was measured."""

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from edge_probe.errors import EdgeProbeError
from export.j_curve import j_curve, smallest_enough


def row(j: int, quality: float, **changes: Any) -> dict[str, Any]:
    made_up = {
        "head": "protobin", "bits": 1, "prototypes_per_class": j, "quality": quality, "sd": 0.01,
        "prototype_bytes": 960 * j, "linear_bytes": 64 * j,
    }  # fmt: skip
    return made_up | changes


def expect(found: Any, numbers: list[Any]) -> None:
    assert np.array(found, np.float64) == pytest.approx(np.array(numbers, np.float64))


def axes_of(rows: list[dict[str, Any]]) -> Any:
    return j_curve(rows).axes


ROWS = [row(20, 0.861), row(1, 0.70), row(5, 0.857), row(40, 0.8619), row(2, 0.80)]
FLOAT = [row(5, 0.8, bits="float"), row(1, 0.9, bits="float"), row(2, 0.895, bits="float")]


def test_the_smallest_j_within_half_a_point_is_marked() -> None:
    assert smallest_enough(ROWS)["prototypes_per_class"] == 5
    assert smallest_enough([row(2, 0.895), row(5, 0.9)])["prototypes_per_class"] == 2
    assert smallest_enough([row(2, 0.8949), row(5, 0.9)])["prototypes_per_class"] == 5
    quality, size = axes_of(ROWS)
    for axes, expected in ((quality, (5, 85.7)), (size, (5, 5.0))):
        (ring,) = (each for each in axes.collections if isinstance(each, PathCollection))
        expect(ring.get_offsets(), [expected])
    (label,) = (text.get_text() for text in quality.get_legend().get_texts())
    assert label == "protobin, 1 bit (J = 5: 85.7 %, 5 KiB)"


def test_curves_show_quality_deviation_and_bytes_in_order_of_j() -> None:
    quality, size = axes_of([*ROWS, *FLOAT])
    one_bit, many_bits = quality.containers
    expect(one_bit.lines[0].get_xydata(), [[1, 70], [2, 80], [5, 85.7], [20, 86.1], [40, 86.19]])
    expect(many_bits.lines[0].get_xydata(), [[1, 90], [2, 89.5], [5, 80]])
    spread = one_bit.lines[2][0].get_segments()
    expect(spread[0], [[1, 69], [1, 71]])
    expect(size.lines[0].get_xydata(), [[1, 1], [2, 2], [5, 5], [20, 20], [40, 40]])
    assert [text.get_text() for text in size.get_xticklabels()] == ["1", "2", "5", "20", "40"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([{"head": "protobin", "bits": 1}], "no prototypes_per_class, quality"),
        ([row(1, 86.0)], "from 0 to 1, found 86.0"),
        ([row(1, float("nan"))], "from 0 to 1, found nan"),
        ([row(5, 0.7), row(5, 0.8)], "one J comes twice"),
    ],
)
def test_rows_that_make_no_curve_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(EdgeProbeError, match=message):
        j_curve(rows)
