"""What the documents say is run: README blocks, command names, generated tables."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
"""Blocks marked ``sh`` are run here, in order and in one folder; ``text`` blocks are not."""

ARECORD = f"""#!{sys.executable}
import signal, sys
import soundfile
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if sys.argv[1:] != "-q -t raw -f S16_LE -r 44100 -c 1".split():
    sys.exit("arecord writes a WAV header, or another format, with these options")
samples, rate = soundfile.read({str(ROOT / "edge_probe/data/demo_scene.ogg")!r}, dtype="int16")
sys.stdout.buffer.write(samples.tobytes())
"""
"""Stands in for a sound card: the demo audio as raw PCM at 44.1 kHz."""


@pytest.fixture
def newcomer(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with a few clips and recordings, and a PATH with our commands."""
    pytest.importorskip("torch", reason="the README trains a head: needs the extra export")
    sys.path.insert(0, str(ROOT / "tests"))
    from support.readme_world import make_world

    folder = tmp_path / "readme"
    folder.mkdir()
    make_world(folder)
    tools = folder / "bin"
    tools.mkdir()
    (tools / "arecord").write_text(ARECORD, encoding="utf-8")
    (tools / "arecord").chmod(stat.S_IRWXU)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    return folder, {**os.environ, "PATH": path}


def test_readme_has_blocks() -> None:
    assert len(BLOCKS) >= 3


def test_readme_blocks_run(newcomer: tuple[Path, dict[str, str]]) -> None:
    """One story, and so one test: a block needs the files of those before it."""
    folder, environment = newcomer
    for block in BLOCKS:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, block + done.stdout + done.stderr


@pytest.mark.parametrize("program", ["edge-probe", "edge-export", "edge-firmware"])
def test_every_command_is_in_the_readme_and_has_its_own_help(program: str) -> None:
    module = {
        "edge-probe": "edge_probe", "edge-export": "export", "edge-firmware": "firmware_tools",
    }[program]  # fmt: skip

    def text(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, "--help"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    names = re.findall(r"^    ([a-z-]+)  ", text(), re.MULTILINE)
    assert names
    helps = [text(name) for name in names]
    assert len(set(helps)) == len(helps)
    for name in names:
        assert f"`{program} {name}`" in README or f"{program} {name} " in README, name


def test_figures_in_readme_are_the_measured_ones() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import table

    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    }
    assert table.render(results) == table.in_document(README)
    import kernel_tables

    native = (ROOT / "edge_probe" / "head" / "native" / "README.md").read_text(encoding="utf-8")
    assert kernel_tables.of_ours(results["kernels"]) == table.in_document(native)


def test_figures_of_encoder_forms_are_the_measured_ones() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import form_tables
    import table

    results = ROOT / "benchmarks" / "results" / "encoder_forms.json"
    page = form_tables.README.read_text(encoding="utf-8")
    rendered = form_tables.render(json.loads(results.read_text(encoding="utf-8")))
    assert rendered == table.in_document(page)


def test_figures_of_boxes_are_the_measured_ones() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import box_table
    import table

    results = json.loads((ROOT / "benchmarks/results/boxes.json").read_text(encoding="utf-8"))
    page = box_table.README.read_text(encoding="utf-8")
    assert box_table.render(results) == table.in_document(page)


def test_privacy_figures_are_the_measured_ones_and_promise_nothing() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import privacy_figures
    import table

    path = ROOT / "benchmarks" / "results" / "privacy.json"
    assert path.stat().st_size <= 100_000
    disk = (ROOT / "edge_probe" / "disk" / "README.md").read_text(encoding="utf-8")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert privacy_figures.render(result) == table.in_document(disk)
    faint = [
        row["speech_zeroed"]["value"]
        for row in result["rows"]
        if row["setting"] == "defaults" and row["site"] == "all" and (row["snr_db"] or 0) < 0
    ]
    assert len(faint) == 4
    assert max(faint) < 0.5, "the README says that most speech below 0 dB stays"
    for text in (README, disk):
        assert "reduces, does not guarantee" in " ".join(text.split())
