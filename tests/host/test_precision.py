"""Which head is deployed."""

import pytest

from export.precision import LINEAR_PROBE, candidates, choose


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        pytest.param({"1": 90.0, "4": 91.0, "8": 91.0, "float": 90.2}, "1", id="smallest of good"),
        pytest.param({"1": 89.5, "4": 90.0, "8": 90.0, "float": 90.0}, "1", id="just in budget"),
        pytest.param({"1": 89.25, "4": 89.5, "8": 90.0, "float": 90.0}, "4", id="just too poor"),
        pytest.param({"1": 80.0, "4": 80.0, "8": 89.75, "float": 90.0}, "8", id="8 bits"),
        pytest.param({"1": 80.0, "4": 80.0, "8": 80.0, "float": 90.0}, "float", id="only float"),
        pytest.param({"1": 95.0, "4": 90.0, "float": 90.0}, "1", id="better than float"),
        pytest.param({"8": 90.0, "4": 80.0, "1": 70.0, "float": 90.0}, "8", id="in any order"),
        pytest.param({"float": 90.0}, "float", id="nothing else tried"),
        pytest.param({"4": 10.0}, "4", id="only this was asked for"),
        pytest.param({LINEAR_PROBE: 10.0}, LINEAR_PROBE, id="only the probe was asked for"),
        pytest.param({"1": 90.0, "float": 90.0, LINEAR_PROBE: 89.0}, "1", id="a worse probe"),
        pytest.param({"1": 90.0, "float": 90.0, LINEAR_PROBE: 90.0}, "1", id="an equal probe"),
        pytest.param({"1": 90.0, "float": 90.0, LINEAR_PROBE: 90.25}, LINEAR_PROBE, id="a better"),
        pytest.param(
            {"1": 93.0, "4": 92.0, "float": 90.0, LINEAR_PROBE: 92.5}, "1",
            id="a probe better than float only",
        ),
        pytest.param({"1": 0.0, "float": 0.0, LINEAR_PROBE: 0.0}, "1", id="nothing is learned"),
    ],
)  # fmt: skip
def test_the_smallest_head_that_loses_little(quality: dict[str, float], expected: str) -> None:
    assert choose(quality).name == expected


def test_what_could_not_be_measured_is_not_said_to_be() -> None:
    choice = choose(dict.fromkeys(candidates(None, None)))
    assert choice.name == "8"
    assert "no clips could be held out" in choice.reason
    assert choose({"1": None}).name == "1"


def test_budget_is_what_may_be_lost() -> None:
    quality = {"1": 87.0, "4": 89.0, "float": 90.0}
    assert [choose(quality, budget).name for budget in (0.0, 1.0, 2.0, 3.0)] == [
        "float", "4", "4", "1",
    ]  # fmt: skip


def test_reasons_name_the_figures() -> None:
    probe = choose({"1": 71.26, "float": 80.0, LINEAR_PROBE: 84.44})
    assert probe.reason == (
        "a linear layer on the mean token reaches 84.4, the best prototypes (float) 80.0"
    )
    four = choose({"float": 90.0, "4": 89.9, "1": 88.0})
    assert four.reason == (
        "the smallest within 0.5 points of float tokens: 1 88.0, 4 89.9, float 90.0"
    )
