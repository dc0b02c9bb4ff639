"""The comparison: what is chosen, what is shown, and that it goes on after a kill."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from support.readme_world import make_world

from export.compare.page import markdown
from export.compare.plots import bars
from export.compare.summary import averages, choices, table
from export.compare.trials import trials_of
from export.heads import HEADS
from export.train import Recipe

Row = dict[str, Any]


def row(head: str, bits: str, seed: int, validation: float, test: float, **other: object) -> Row:
    about = {
        "data": "songs", "encoder": "net", "prototypes_per_class": 20, "layer": "int8",
        "encoder_bytes": 1000, "n_dims": 8, "n_parameters": 10, "prototype_bytes": 100,
        "linear_bytes": 50, "trial": {}, "auroc": 90.0, "top_1": None, "low": test - 2,
        "high": test + 1, "parity": {"passed": True, "error": 0.0}, "per_class": [test],
    }  # fmt: skip
    given = {"head": head, "bits": bits, "seed": seed, "validation": validation, "test": test}
    return about | given | other


def rows() -> list[Row]:
    """Validation prefers the offset; the test would have preferred the paper's head and 4 bits."""
    return [
        each
        for seed, more in enumerate((-0.5, 0.5))
        for each in (
            row("linear-mean", "float", seed, 80 + more, 81, prototype_bytes=0, layer="float32"),
            row("protobin", "float", seed, 84, 90 + more),
            row("protobin-offset", "float", seed, 85, 88 + more),
            row("protobin-offset", "float", seed, 86, 99, layer="float32"),
            row("protobin-offset", "8", seed, 85, 88 + more),
            row("protobin-offset", "4", seed, 84.4, 89 + more),
            row("protobin-offset", "1", seed, 84.6, 87.5 + more),
            row("protobin-offset", "1", seed, 86, 99, layer="int8-sparse"),
        )
    ]


def test_choices_are_made_on_validation_and_only_told_by_the_test() -> None:
    (line,) = choices(table(rows()))
    assert line["float_head"] == "protobin-offset"
    assert line["chosen_precision"] == "1"
    assert line["deployed"] == "1"
    assert line["chosen_minus_linear"] == pytest.approx(6.5)
    assert line["chosen_minus_float"] == pytest.approx(-0.5)
    assert line["binary_minus_float"] == pytest.approx(-0.5)
    (stricter,) = choices(table(rows()), budget=0.3)
    assert stricter["chosen_precision"] == "8"
    overall = averages([line, line | {"chosen_minus_linear": 0.5}])
    assert overall["chosen_minus_linear"] == {"mean": 3.5, "least": 0.5, "most": 6.5}


def test_table_has_means_over_seeds_and_the_distance_to_the_linear_probe() -> None:
    entries = table(rows())
    assert len(entries) == 8
    linear, offset = entries[0], entries[2]
    assert (linear["delta"], linear["validation"], linear["n_seeds"]) == (0, 80, 2)
    assert (offset["test"], offset["delta"], offset["test_sd"]) == (88, 7, 0.707)
    broken = [*rows(), row("proto", "float", 0, 1, 2, parity={"passed": False, "error": 0.5})]
    page = markdown(table(broken), [], {}, "Title")
    assert "| exact |" in page
    assert "| BROKEN 5.0e-01 |" in page
    assert "88.0 ± 0.7 [86.0, 89.0]" in page


def test_bars_show_every_head_with_its_interval() -> None:
    (axes,) = bars(table(rows())).axes
    heights = [round(bar.get_height(), 1) for bar in axes.patches if isinstance(bar, Rectangle)]
    assert heights == [81, 90, 88, 87.5]
    lines = [line for line in axes.collections if isinstance(line, LineCollection)]
    spans = [tuple(line.get_segments()[0][:, 1].round(1)) for line in lines]
    assert spans == [(79, 82), (88, 91), (86, 89), (85.5, 88.5)]


def test_every_head_gets_as_many_trials() -> None:
    assert {len(trials_of(head, Recipe())) for head in HEADS} == {3}


COMPARE = ("compare", "clips.csv", "--seeds", 2, "--epochs", 1, "--prototypes-per-class", 2,
           "--workers", 1, "--out", "out", "--heads", "linear-mean", "protobin-offset",
           "--encoder")  # fmt: skip


def start(cwd: Path, *arguments: object) -> "subprocess.Popen[str]":
    from export.card import CARDS
    from export.commands.tokens import DEMO_ENCODER

    encoder = f"{DEMO_ENCODER},{CARDS / 'demo_encoder.toml'}"
    command = [sys.executable, "-m", "export", *map(str, arguments), encoder]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Path:
    make_world(tmp_path)
    lines = ["file,label,split"]
    for folder in sorted((tmp_path / "my_clips").iterdir()):
        for number, path in enumerate(sorted(folder.iterdir())):
            split = ("train", "train", "validation", "test")[number % 4]
            lines.append(f"{path.relative_to(tmp_path)},{folder.name},{split}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_killed_comparison_goes_on_and_ends_the_same(world: Path) -> None:
    whole = start(world, *COMPARE)
    said, log = whole.communicate(timeout=300)
    assert whole.returncode == 0, log
    assert "chosen_minus_linear" in said
    expected = (world / "out" / "compare.json").read_bytes()
    work = sorted((world / "out" / "work").iterdir())
    assert {path.suffix for path in work} == {".json"}
    assert len(work) == 2 * (3 + 2)  # trials and seeds of two heads
    kept = work[0].stat().st_mtime_ns
    for path in work[1:]:
        path.unlink()
    killed = start(world, *COMPARE)
    while len(list((world / "out" / "work").glob("*.json"))) < 4:
        assert killed.poll() is None
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    again = start(world, *COMPARE)
    _, log = again.communicate(timeout=300)
    assert again.returncode == 0, log
    assert (world / "out" / "compare.json").read_bytes() == expected
    assert work[0].stat().st_mtime_ns == kept
    result = json.loads(expected)
    assert all(e["parity"]["passed"] for e in result["table"])
    assert {e["bits"] for e in result["table"]} == {"float", "8", "4", "1"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("compare", "clips.csv", "--out", "o", "--heads", "protobim", "--encoder"),
            "did you mean",
        ),
        (("compare", "nowhere", "--out", "o", "--encoder"), "no such folder or"),
    ],
)
def test_bad_input_is_one_line(world: Path, arguments: tuple[object, ...], expected: str) -> None:
    done = start(world, *arguments)
    _, log = done.communicate(timeout=100)
    assert done.returncode == 1
    assert expected in log
    assert "Traceback" not in log
