"""What a command may load: help stays light, the device never meets the workstation."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "onnx", "sklearn", "scipy", "tqdm", "export", "firmware_tools"}


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_does_not_import_numpy() -> None:
    statement = (
        "from edge_probe.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass"
    )  # fmt: skip
    assert not modules_after(statement) & {"numpy", "onnxruntime", "soundfile", "subprocess"}


@pytest.mark.parametrize("name", ["edge_probe", "edge_probe.cli"])
def test_importing_the_package_costs_nothing(name: str) -> None:
    assert "numpy" not in modules_after(f"import {name}")


def test_a_look_at_a_living_recorder_loads_no_arrays(tmp_path: Path) -> None:
    statement = (
        f"from pathlib import Path\nstate = Path({str(tmp_path)!r})\n"
        "from edge_probe.cli import main\nfrom edge_probe.lock import hold\n"
        "with hold(state): assert main(['status', str(state)]) == 1"
    )
    assert not modules_after(statement) & {"numpy", "onnxruntime", "soundfile", "sounddevice"}


def test_classifying_a_pipe_loads_only_what_it_needs() -> None:
    statement = (
        "import io\n"
        "class Stdin: buffer = io.BufferedReader(io.BytesIO(bytes(64_000)))\n"
        "sys.stdin = Stdin()\n"
        "from edge_probe.cli import main\n"
        "assert main(['classify', '-', '--rate', '16000']) == 0"
    )
    loaded = modules_after(statement)
    assert {"numpy", "onnxruntime"} <= loaded
    unwanted = {"soundfile", "sounddevice", "cryptography", "bitarray", "asyncio", *HEAVY}
    assert not loaded & unwanted


def test_the_recorder_looks_after_its_disk_without_codecs() -> None:
    statement = "import edge_probe.disk.chores, edge_probe.disk.room, edge_probe.disk.plan"
    assert not modules_after(statement) & {"soundfile", "onnxruntime", "cryptography", *HEAVY}


def test_an_estimate_needs_nothing_of_the_trainer() -> None:
    statement = (
        "from edge_probe.commands.classify import DEMO_BUNDLE\n"
        "from firmware_tools.cli import main\n"
        "assert main(['estimate', str(DEMO_BUNDLE), '--profile', 'pi-5', '--json']) == 0"
    )
    assert not modules_after(statement) & (HEAVY - {"firmware_tools"})


def test_help_of_the_firmware_tools_imports_no_numpy() -> None:
    statement = (
        "from firmware_tools.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass"
    )  # fmt: skip
    assert not modules_after(statement) & {"numpy", "onnxruntime", "cryptography"}


def test_the_sun_is_loaded_by_a_schedule_that_asks_for_it() -> None:
    asked = (
        "import edge_probe.station\nfrom datetime import timedelta\n"
        "from edge_probe.schedule.calendar import Place, Schedule\n"
        "from edge_probe.schedule.table import parse_table\n"
        "def ask(span):\n  table = parse_table('x', {{'on': [span]}})\n"
        "  Schedule(table, timedelta(0), Place(1, 2)).at(0)\n"
        "ask('{}')"
    )
    assert "astral" not in modules_after(asked.format("05:00 to 06:00"))
    assert "astral" in modules_after(asked.format("05:00 to sunrise"))
