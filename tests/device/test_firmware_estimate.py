"""Estimates against what is measured here, and what follows from them."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from edge_probe.budget.bench import bench
from edge_probe.budget.figure import ROWS, Figure, Sheet, read_sheet
from edge_probe.budget.installed import BLOCK_BYTES, on_disk, required
from edge_probe.budget.trial import Trial, run_trial
from edge_probe.bundle import Bundle, open_bundle, verify
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.errors import EdgeProbeError
from firmware_tools.cli import main
from firmware_tools.comparison import compare
from firmware_tools.estimate import NO_BOARD, estimate, head_work
from firmware_tools.profile import DeviceProfile, load_profile
from firmware_tools.verdict import judge
from firmware_tools.wheels import compiled_bytes, installed_bytes

RATE = 48_000

WITHIN = 0.15
"""Of memory and flash, estimate against measurement."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEMO_BUNDLE, verify=verify.is_valid)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return run_trial(DEMO_BUNDLE)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    return bench(DEMO_BUNDLE, tmp_path_factory.mktemp("state"), RATE, 2.0)


def test_memory_and_flash_are_measured_within_15_percent_of_the_estimate(
    bundle: Bundle, trial: Trial, measured: Sheet
) -> None:
    made = estimate(bundle, trial, load_profile("generic-64bit-linux"), RATE)
    rows = {row.name: row for row in compare(made, measured)}
    for name in ROWS:
        if name.startswith(("flash", "memory")) and name != "memory_system":
            row = rows[name]
            assert row.estimate is not None
            assert row.measured is not None
            assert row.estimate.middle == pytest.approx(row.measured.middle, rel=WITHIN), name
            assert row.measured.tag == "measured-here"
    for name in ("memory_ours", "chunk_one_core", "real_time_factor", "card_full_after"):
        assert rows[name].holds, name


def test_every_row_is_measured_but_writes_which_take_longer(measured: Sheet) -> None:
    assert ROWS.keys() - measured.figures.keys() == {"written_a_day"}
    assert any("--watch 120" in note for note in measured.notes)
    figures = measured.figures
    parts = ("memory_recorder", "memory_classifier", "memory_helpers", "memory_files")
    total = sum(figures[name].low for name in parts)
    assert figures["memory_ours"].low == pytest.approx(total)
    assert 0 < figures["chunk_one_core"].low < figures["chunk_one_core_p95"].low * 1.5


@pytest.mark.parametrize("board", ["pi-zero-2w", "pi-3b-plus", "pi-4b", "pi-5"])
def test_the_demo_bundle_fits_every_board_and_no_board_was_measured(
    bundle: Bundle, trial: Trial, board: str
) -> None:
    profile = load_profile(board)
    made = estimate(bundle, trial, profile, RATE)
    assert made.figures.keys() == ROWS.keys()
    assert judge(made, profile).fits
    assert NO_BOARD in made.notes
    assert not {figure.tag for figure in made.figures.values()} & {"measured-here", "reported"}
    chunk = made.figures["chunk_one_core"]
    assert chunk.tag == "extrapolated"
    assert chunk.high >= 3 * chunk.low, "nobody knows better"


def test_a_faster_microphone_costs_memory_and_card(bundle: Bundle, trial: Trial) -> None:
    profile = load_profile("pi-5")
    slow, fast = (estimate(bundle, trial, profile, rate).figures for rate in (RATE, 8 * RATE))
    ring = (fast["memory_recorder"].middle - slow["memory_recorder"].middle) * 2**20
    assert ring == pytest.approx(7 * 35 * RATE * 2, rel=0.01)
    assert fast["written_a_day"].low == pytest.approx(8 * slow["written_a_day"].low, rel=1e-3)
    assert fast["card_full_after"].high < slow["card_full_after"].high / 7


def test_the_work_of_a_head(bundle: Bundle) -> None:
    assert head_work(bundle) == (200 * 32 * 96, 1)


def sheet(profile: DeviceProfile, **spans: tuple[float, float]) -> Sheet:
    """A sheet of a bundle that fits, with other spans."""
    ends = dict.fromkeys(ROWS, (1.0, 1.0)) | {
        "memory_files": (50.0, 60.0), "memory_ours": (150.0, 200.0),
        "memory_system": (78.0, 162.0), "real_time_factor": (0.1, 0.5),
    }  # fmt: skip
    figures = [Figure(name, *span, "extrapolated", "made") for name, span in (ends | spans).items()]
    return Sheet.of("estimate", "made", profile.key, figures, [])


@pytest.mark.parametrize(
    ("spans", "refusal", "warning"),
    [
        ({}, None, None),
        ({"memory_ours": (490.0, 500.0)}, "cannot fit", None),  # 78 + 490 - 50 = 518 of 512
        ({"memory_ours": (484.0, 500.0)}, None, "would thrash: 50 MiB"),
        ({"memory_ours": (434.0, 434.0)}, None, "may be short: up to 596"),
        ({"memory_ours": (150.0, 350.0)}, None, None),  # 350 + 162 = 512
        ({"memory_ours": (150.0, 351.0)}, None, "may be short"),
        ({"real_time_factor": (0.1, 0.8)}, None, None),
        ({"real_time_factor": (0.1, 0.81)}, None, "0.1 to 0.81 of real time"),
        ({"real_time_factor": (0.9, 3.0)}, None, "of real time"),
        ({"real_time_factor": (1.0, 3.0)}, None, "of real time"),
        ({"real_time_factor": (1.01, 3.0)}, "slower than real time", None),
        ({"flash_bundle": (31_000.0, 31_000.0)}, "card: cannot fit", None),
        ({"card_full_after": (0.9, 2.0)}, None, "full within a day"),
    ],
)
def test_what_follows(
    spans: dict[str, tuple[float, float]], refusal: str | None, warning: str | None
) -> None:
    profile = load_profile("pi-zero-2w")
    verdict = judge(sheet(profile, **spans), profile)
    assert verdict.fits == (refusal is None)
    for found, wanted in ((verdict.refusals, refusal), (verdict.warnings, warning)):
        assert len(found) == (wanted is not None)
        assert wanted is None or wanted in found[0]


def test_a_comparison_shows_the_error_of_both_ends() -> None:
    profile = load_profile("pi-5")
    made = sheet(profile, chunk_one_core=(1.0, 4.0), flash_bundle=(11.0, 11.0))
    there = sheet(profile, chunk_one_core=(2.0, 2.0), flash_bundle=(10.0, 10.0))
    rows = {row.name: row for row in compare(made, there)}
    assert rows["chunk_one_core"].error == (-0.5, 1.0)
    assert rows["chunk_one_core"].holds
    assert rows["flash_bundle"].error == pytest.approx((0.1, 0.1))
    assert rows["flash_bundle"].holds is None
    slow = {row.name: row for row in compare(made, sheet(profile, chunk_one_core=(4.1, 4.1)))}
    assert slow["chunk_one_core"].holds is False
    with pytest.raises(EdgeProbeError, match="measured was other"):
        compare(made, replace(there, bundle="other"))


def test_the_commands(tmp_path: Path, measured: Sheet, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["estimate", str(DEMO_BUNDLE), "--profile", "pi-zero-2w", "--card", "5", "--json"]
    assert main(words) == 0
    value = json.loads(capsys.readouterr().out)
    assert NO_BOARD in value["notes"]
    assert value["verdict"]["warnings"] == [
        "card: may be full within a day: take a larger one, or record less"
    ]
    paths = tmp_path / "estimate.json", tmp_path / "measured.json"
    for path, content in zip(paths, (value, measured.to_json()), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    assert read_sheet(paths[1], "measured") == measured
    assert main(["compare", *map(str, paths)]) == 0
    assert "flash_bundle" in capsys.readouterr().out
    assert main(["compare", *map(str, reversed(paths))]) == 1
    assert main(["estimate", str(DEMO_BUNDLE), "--profile", "pi-zero-w"]) == 1
    assert main(["estimate", str(tmp_path), "--profile", "pi-5"]) == 1
    assert capsys.readouterr().err.count("error:") == 3


def test_a_board_that_is_too_small_is_an_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from firmware_tools import profile

    small = replace(load_profile("pi-zero-2w"), ram_mib=128)
    monkeypatch.setattr(profile, "load_profile", lambda _: small)
    assert main(["estimate", str(DEMO_BUNDLE), "--profile", "pi-zero-2w"]) == 1
    text = capsys.readouterr().out
    assert "CANNOT WORK: memory" in text
    assert NO_BOARD in text.splitlines()


def test_a_bundle_that_is_no_good_is_refused_by_the_trial(tmp_path: Path) -> None:
    with pytest.raises(EdgeProbeError, match="expected"):
        run_trial(tmp_path / "nothing")


def test_wheels_as_they_lie_on_the_card(tmp_path: Path) -> None:
    path = tmp_path / "made-1-py3-none-any.whl"
    source = b"x = 1\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("made/__init__.py", source)
        wheel.writestr("made/data.bin", bytes(BLOCK_BYTES + 1))
        wheel.writestr("made/old.py", b"print 'python 2'")
    assert compiled_bytes(source, "made") == BLOCK_BYTES
    assert installed_bytes([path]) == (1 + 1 + 2 + 1) * BLOCK_BYTES
    assert [on_disk(n) // BLOCK_BYTES for n in (0, 1, 4096, 4097)] == [0, 1, 1, 2]


def test_the_runtime_is_what_the_recorder_needs_and_no_extra() -> None:
    found = {one.metadata["Name"].lower() for one in required("edge-probe")}
    assert {"numpy", "onnxruntime", "protobuf", "cffi", "pycparser", "soundfile"} <= found
    assert not found & {"torch", "onnx", "pytest", "matplotlib", "scipy"}
    assert "tzdata" not in found, "astral needs it on Windows only"
