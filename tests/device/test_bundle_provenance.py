"""What was done to an encoder is told by ``info``, as far as a bundle says it."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.tiny_bundle import write_tiny_bundle

from edge_probe.bundle.provenance import step_lines
from edge_probe.cli import main

STEPS: list[dict[str, Any]] = [
    {"what": "cut from model.onnx at t266", "largest_difference": 0.0},
    {
        "what": "int8, static", "made_from": "float.onnx", "budget_points": 0.3,
        "token_cosine_mean": 0.98412, "token_cosine_min": 0.806, "float_map_before": 99.0,
        "float_map_after": 98.98, "float_map_retrained": 98.5, "1bit_map_before": 99.03,
        "1bit_map_after": 99.04,
    },
]  # fmt: skip
LINES = [
    "cut from model.onnx at t266, tokens differ by 0 at most",
    "int8, static, token cosine 0.9841 (0.81 at least), mAP 99.00 -> 98.98 with float tokens, "
    "mAP 99.03 -> 99.04 with 1-bit tokens",
]


def test_info_tells_each_step_and_what_it_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = {"name": "reshape", "licence": "Apache-2.0", "steps": STEPS}
    folder = tmp_path / "tiny"
    write_tiny_bundle(folder, provenance=provenance)
    assert main(["info", str(folder)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(maxsplit=2)[2] for row in rows if row.startswith("made by ")] == LINES
    assert main(["info", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made by"] == LINES


def test_a_converted_checkpoint() -> None:
    step = {
        "what": "converted", "family": "EAT", "checkpoint": "eat.pt", "depth": 12,
        "largest_difference_to_torch": 1.2e-6,
    }  # fmt: skip
    assert step_lines({"steps": [step]}) == [
        "converted, EAT, eat.pt, tokens differ by 1e-06 at most"
    ]


@pytest.mark.parametrize(
    "steps", [None, 7, "int8", {"what": "int8"}, [], [7], [[]], [{}], [{"what": ["int8"]}]]
)
def test_what_is_written_otherwise_is_left_out(steps: Any) -> None:
    assert step_lines({"steps": steps}) == []
    odd = {"what": "\x1b[2J", "token_cosine_mean": "1", "token_cosine_min": True, "family": 3}
    assert step_lines({"steps": [odd, {"what": "x", "float_map_before": 1.0}]}) == [
        r"'\x1b[2J'", "x",
    ]  # fmt: skip
