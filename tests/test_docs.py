"""What the documents say is run: code blocks, commands and their options, generated tables."""

import argparse
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from support.pages import ROOT, Block, Command, bare_options, blocks, commands, name_of, pages

sys.path.insert(0, str(ROOT / "docs"))
from programs import PROGRAMS, subcommands

README = (ROOT / "README.md").read_text(encoding="utf-8")

STORY = (
    "docs/tutorial.md", "README.md",
    *(
        f"docs/how-to/{task}.md"
        for task in (
            "clips", "encoder", "card-and-power", "watch", "update", "clock", "privacy", "collect",
            "review", "validate", "refit", "compare", "formats", "season",
        )
    ),
)  # fmt: skip
"""Pages whose ``sh`` and ``python`` blocks are run, in order and in one folder."""

RUN_ELSEWHERE = {
    "export/README.md": "test_single_graph.py",
    "export/heads/README.md": "test_heads.py",
    "edge_probe/health/README.md": "test_health_monitor.py",
}
"""Pages with Python for those who write programs, and the test that runs it."""

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
def folder(tmp_path: Path) -> Path:
    """Where a newcomer begins: empty, but for a sound card."""
    pytest.importorskip("torch", reason="the tutorial trains a head: needs the extra export")
    pytest.importorskip("pyarrow", reason="the how-to pages need the extra desk")
    (tmp_path / "bin").mkdir()
    arecord = tmp_path / "bin" / "arecord"
    arecord.write_text(ARECORD, encoding="utf-8")
    arecord.chmod(stat.S_IRWXU)
    return tmp_path


def test_blocks_run(folder: Path) -> None:
    """One story, and so one test: a block needs the files of those before it."""
    from support.book_world import add_cards, review

    others = {"docs/how-to/watch.md": add_cards, "docs/how-to/validate.md": review}
    path = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {**os.environ, "PATH": os.pathsep.join(path)}
    done = set()
    for page in STORY:
        others.get(page, lambda _: None)(folder)
        for block in blocks(ROOT / page):
            if block.language in ("sh", "python") and block.key not in done:
                done.add(block.key)
                run(block, folder, environment)


def run(block: Block, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a block as its reader would; anything that fails in it fails the test."""
    program = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    done = subprocess.run(
        [*program[block.language], block.text], cwd=folder, env=environment,
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.page}:\n{block.text}{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_a_block_is_run_or_says_that_it_is_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("sh", "python", "toml", "text", ""), block
        if block.language in ("sh", "python"):
            assert block.page in STORY or block.page in RUN_ELSEWHERE, block
        if block.language == "toml":
            tomllib.loads(block.text)


def test_blocks_that_are_run_elsewhere_are() -> None:
    for page, test in RUN_ELSEWHERE.items():
        assert any(block.language == "python" for block in blocks(ROOT / page)), page
        (path,) = (ROOT / "tests").rglob(test)
        assert f'of_page("{page}")' in path.read_text(encoding="utf-8"), page


@cache
def programs() -> dict[str, argparse.ArgumentParser]:
    """Our programs with all of their options."""
    pytest.importorskip("torch", reason="options of edge-export need the extra export")
    return {name: make() for name, make in PROGRAMS.items()}


def complaint(command: Command) -> str | None:
    """What is wrong with a command of a page, or None."""
    program, *words = command.words
    parser = programs()[program]
    while words and words[0] in subcommands(parser):
        parser = subcommands(parser)[words.pop(0)]
    if subcommands(parser) and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return f"no command {words[0]}"
    given = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    unknown = [word for word in given if word not in parser._option_string_actions]
    if unknown:
        return f"no option {unknown[0]}"
    if not command.is_whole or any(re.search(r"\.\.\.|…|\b[A-Z]{2,}", word) for word in words):
        return None
    parser.exit_on_error = False
    try:
        parser.parse_args(words)
    except (argparse.ArgumentError, SystemExit) as error:
        return f"it is refused: {error}"
    return None


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    wrong = [f"{command}: {why}" for command in commands(page) if (why := complaint(command))]
    assert not wrong


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Of a parser and all of its commands."""
    below = subcommands(parser).values()
    return set(parser._option_string_actions).union(*(options(one) for one in below))


OF_OTHERS = {
    "benchmarks/README.md": {"--smoke", "--work"},
    "edge_probe/desk/README.md": {"--dependency"},
    "firmware_tools/stage/README.md": {"--require-hashes"},
}
"""Options of pip, Slurm and of scripts that are none of our programs."""


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_options_that_are_named_alone_exist(page: Path) -> None:
    known = set().union(*(options(parser) for parser in programs().values()))
    assert bare_options(page) <= known | OF_OTHERS.get(name_of(page), set())


def test_wrong_commands_are_noticed() -> None:
    for words, why in {
        "edge-probe recrod state": "no command recrod",
        "edge-probe run state --brightness 3": "no option --brightness",
        "edge-probe results archive --format mp3": "it is refused: ",
        "edge-export encoder shrink": "no command shrink",
    }.items():
        assert (complaint(Command(tuple(words.split()), True)) or "").startswith(why)
    assert complaint(Command(("edge-probe", "run", "STATE", "--plan", "DAYS"), True)) is None


@pytest.mark.parametrize("program", ["edge-probe", "edge-export", "edge-firmware"])
def test_every_command_is_in_the_readme_and_has_its_own_help(program: str) -> None:
    helps = {name: one.format_help() for name, one in subcommands(programs()[program]).items()}
    assert len(helps) >= 10
    assert len({text.split(maxsplit=3)[3] for text in helps.values()}) == len(helps)
    for name in helps:
        assert f"`{program} {name}`" in README or f"{program} {name} " in README, name


def test_figures_in_readme_are_the_measured_ones() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import table

    results = table.load(ROOT / "benchmarks" / "results")
    assert table.render(results) == table.in_document(README)
    details = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert table.details(results) == table.in_document(details)
    pictures = re.findall(r"!\[[^]]*]\((benchmarks/[^)]+)\)", README)
    pictures += [f"benchmarks/{name}" for name in re.findall(r"!\[[^]]*]\(([^)]+)\)", details)]
    assert len(pictures) >= 4
    assert all((ROOT / picture).is_file() for picture in pictures)
    import kernel_tables

    native = (ROOT / "edge_probe" / "head" / "native" / "README.md").read_text(encoding="utf-8")
    assert kernel_tables.of_ours(results["kernels"]) == table.in_document(native)


def test_every_result_has_its_command() -> None:
    """In the table of benchmarks/README; what a run of one machine leaves lies in its folder."""
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    section = page.split("## What makes which figure\n")[1].split("\n## ")[0]
    listed = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)))
    stems = {name.removesuffix(".json").removesuffix(".*") for name in listed}
    results = ROOT / "benchmarks" / "results"
    found = {path.stem for path in results.glob("*.json")}
    assert found == stems - {"MACHINE/DATE"}
    for path in results.glob("*/*.json"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", path.stem), path


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
