"""Boards: what is known of them, which are refused, and what an estimate makes of them."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_probe.budget.operations import Arithmetic, Operation, operations
from edge_probe.encoder import profile_nodes
from edge_probe.errors import EdgeProbeError
from edge_probe.spec import EncoderSpec, TokenGrid
from firmware_tools.profile import FOLDER, load_profile, names, parse_profile, with_card
from firmware_tools.speed import encoder_s, head_s

BOARDS = ("pi-zero-2w", "pi-3b-plus", "pi-4b", "pi-5")


def table() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "pi-5.toml").read_text(encoding="utf-8"))


def test_the_boards_that_are_known() -> None:
    assert {*BOARDS, "generic-64bit-linux"} == set(names())
    for name in names():
        profile = load_profile(name)
        assert profile.key == name
        assert profile.system_mib.high < profile.ram_mib
        assert profile.system_gb.high < profile.card_gb
    assert load_profile("Pi Zero 2W").cores == 4
    assert "asimddp" not in load_profile("pi-4b").features
    assert "asimddp" in load_profile("pi-5").features


@pytest.mark.parametrize("name", ["pi-zero", "pi-zero-w", "Pi Zero W", "pi_1", "pi-2", "pi-cm1"])
def test_a_32_bit_board_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(EdgeProbeError, match=r"ARMv[67].*32-bit.*no wheels") as caught:
        load_profile(name)
    assert "pi-zero-2w" in str(caught.value.hint)


def test_a_board_that_nobody_knows_is_refused() -> None:
    with pytest.raises(EdgeProbeError, match="no such profile") as caught:
        load_profile("../pi-5")
    assert all(name in str(caught.value.hint) for name in names())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cores", 4.5), ("cores", True), ("ram_mib", "2048"), ("clock_ghz", 2.4),
        ("clock_ghz", [2.4, 1.0]), ("clock_ghz", [0.0, 1.0]), ("clock_ghz", ["1", "2"]),
        ("clock_ghz", [1.0]), ("clock_ghz", [1.0, float("inf")]), ("power_w", "4"),
        ("features", "asimd"), ("name", 5), ("cpu", "A76"),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_meant_is_refused(key: str, value: Any) -> None:
    with pytest.raises(EdgeProbeError, match=f"pi-6: .*{key}"):
        parse_profile("pi-6", table() | {key: value})


def test_a_profile_without_a_key_is_refused_but_power_may_be_unknown() -> None:
    for key in table():
        rest = {other: value for other, value in table().items() if other != key}
        if key == "power_w":
            assert parse_profile("pi-6", rest).power_w is None
        else:
            with pytest.raises(EdgeProbeError, match=key):
                parse_profile("pi-6", rest)


def test_another_card() -> None:
    assert with_card(load_profile("pi-5"), 128.0).card_gb == 128
    for wrong in (0.0, -1.0, 3.5, float("nan"), float("inf")):
        with pytest.raises(EdgeProbeError, match="a card of"):
            with_card(load_profile("pi-5"), wrong)


def work(n_million: float, arithmetic: Arithmetic = "float") -> list[Operation]:
    return [Operation("MatMul", arithmetic, round(n_million * 1e6), 1000)]


@pytest.mark.parametrize(
    ("board", "n_million", "arithmetic", "n_cores", "low_s", "high_s"),
    [
        ("pi-zero-2w", 48_500, "float", 4, 7.0, 10.0),  # ViT-B, 10 s
        ("pi-zero-2w", 1_650, "float", 1, 1.0, 1.0),  # ViT-T, 5 s
        ("pi-zero-2w", 550, "float", 1, 0.4, 0.4),  # MobileNetV3-L, 10 s
        ("pi-5", 22_500, "integer", 4, 0.5, 0.5),  # ViT-B, 5 s, int8: below
    ],
)
def test_a_span_holds_what_others_expect(
    board: str, n_million: float, arithmetic: Arithmetic, n_cores: int, low_s: float, high_s: float
) -> None:
    """From the arithmetic of these encoders, by people who had no board either."""
    found = encoder_s(work(n_million, arithmetic), load_profile(board), n_cores)
    assert found.low <= low_s
    assert found.high >= high_s


REPORTED_S = {"pi-zero-2w": (1.2, 1.2), "pi-3b-plus": (0.5, 0.8), "pi-4b": (0.167, 0.3)}
REPORTED_S |= {"pi-5": (0.091, 0.091)}
"""BirdNET 2.4 on 3 s, by users of BirdNET-Pi and BirdNET-Go; threads and clock are not told."""


def test_a_span_holds_what_was_reported_of_boards(shared: Path) -> None:
    grid = TokenGrid(192, 8, 3, 0.0, 18_000.0, None)
    spec = EncoderSpec("birdnet24_encoder.onnx", "INPUT", "tokens", 48_000, 144_000, grid)
    counted = operations(profile_nodes(shared / "encoders" / spec.graph, spec))
    for board, (low_s, high_s) in REPORTED_S.items():
        profile = load_profile(board)
        assert encoder_s(counted, profile, profile.cores).low <= low_s, board
        assert encoder_s(counted, profile, 1).high >= high_s, board


def test_more_cores_help_and_never_by_more_than_their_number() -> None:
    for name in names():
        profile = load_profile(name)
        for moved in (1000, 10**8):
            one_node = [Operation("Conv", "float", 10**8, moved)]
            one, all_ = (encoder_s(one_node, profile, n) for n in (1, profile.cores))
            assert one.low <= one.high
            for end in (0, 1):
                assert one[end] / profile.cores <= all_[end] <= one[end]


def test_kernels_and_depthwise_layers_are_where_they_belong() -> None:
    profile = load_profile("pi-4b")
    slow = encoder_s(work(100, "depthwise"), profile, 1)
    assert slow.high > encoder_s(work(100), profile, 1).high
    one_bit, eight, floats = (head_s(10**9, bits, profile) for bits in (1, 8, None))
    assert one_bit.low < eight.low <= floats.low
    assert one_bit.high == eight.high == floats.high
