"""The book is built as `make book` does it, and says what the programs have."""

import argparse
import html
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from support.pages import ROOT

from edge_probe.commands import run as run_command
from edge_probe.deployment.settings import Settings

sys.path.insert(0, str(ROOT / "docs"))
DOCS = ROOT / "docs"
SCRIPTS = {"draw.py", "evidence.py", "sheet.py", "__pycache__"}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_site_is_built_and_has_all_that_there_is(tmp_path: Path) -> None:
    """Built once; every warning, such as a link that leads nowhere, fails."""
    for package in (
        "sphinx",
        "myst_parser",
        "furo",
        "sphinx_argparse_cli",
        "latex2mathml",
        "torch",
    ):
        pytest.importorskip(package, reason="the book needs the extras docs and export")
    (recipe,) = re.findall(r"^\t.* -m (sphinx .*)$", MAKEFILE, re.MULTILINE)
    words = recipe.replace("build/book-parts", str(tmp_path / "parts"))
    words = words.replace("build/book", str(tmp_path / "site"))
    done = subprocess.run(
        [sys.executable, "-m", *words.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for program in ("edge-probe", "edge-export", "edge-firmware"):
        check_commands(tmp_path / "site", program)
    check_settings(tmp_path / "site")
    check_it_needs_no_network(tmp_path / "site")


def read(page: Path) -> str:
    """Its text without markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def check_commands(site: Path, program: str) -> None:
    """The reference has every command and option."""
    from programs import PROGRAMS, subcommands

    text = read(site / "docs" / "reference" / f"{program}.html")

    def look(parser: argparse.ArgumentParser) -> None:
        assert parser.prog in text
        for action in parser._actions:
            hidden = action.help == argparse.SUPPRESS
            for name in action.option_strings:
                assert (name in text) or hidden, f"{parser.prog} {name}"
        for below in subcommands(parser).values():
            look(below)

    look(PROGRAMS[program]())
    assert "--check-only" not in text
    assert "show this help" not in text


def check_settings(site: Path) -> None:
    """The reference has every key, and so has the file that comes with the package."""
    parser = argparse.ArgumentParser(add_help=False)
    run_command.add_arguments(parser)
    text = (site / "docs" / "reference" / "settings.html").read_text(encoding="utf-8")
    table = text[: text.index("</table>")]
    keys = {re.sub("<[^>]+>", "", key) for key in re.findall(r"<tr[^>]*><td>(.*?)</td>", table)}
    names = {action.dest for action in parser._actions} - set(run_command.NOT_IN_FILE)
    assert keys == {name.replace("_", "-") for name in names}
    example = (ROOT / "firmware_tools/units/settings.toml").read_text(encoding="utf-8")
    told = set(re.findall(r"^(?:# )?([a-z-]+) = ", example, re.MULTILINE))
    assert told == keys - {"deployment"}


def test_the_schema_has_every_key_of_a_deployment() -> None:
    schema = (ROOT / "edge_probe" / "SCHEMA.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## deployment\.toml$(.*?)^## ", schema, re.DOTALL | re.MULTILINE)
    told = set(re.findall(r"`\[?([a-z_]+)\]?`", section))
    assert {key.name for key in fields(Settings)} <= told


def test_every_format_of_results_is_told() -> None:
    pytest.importorskip("pyarrow", reason="results need the extra desk")
    from edge_probe.desk.results import FORMATS

    page = (DOCS / "how-to" / "formats.md").read_text(encoding="utf-8")
    told = (ROOT / "edge_probe" / "desk" / "results" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--format ([a-z-]+)", page)) == set(FORMATS)
    for name in FORMATS:
        assert f"`{name}`" in page
        assert f"`{name}`" in told


def test_every_page_is_in_the_contents() -> None:
    pytest.importorskip("sphinx", reason="the book needs the extra docs")
    from site_parts import CONTENTS

    listed = {f"{page}.md" for pages in CONTENTS.values() for page in pages if page[0] != "/"}
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}
    assert listed == there
    cover = (DOCS / "README.md").read_text(encoding="utf-8")
    assert all(f"]({page})" in cover for page in there), "and so it is on a forge"


def check_it_needs_no_network(site: Path) -> None:
    """Neither scripts nor style come from elsewhere, and formulas need none."""
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|rel="stylesheet" href)="(?:https?:)?//[^"]+""", text), page
    assert "<math" in (site / "docs" / "how-it-works" / "head.html").read_text(encoding="utf-8")


def test_pictures_are_drawn_by_the_script_that_is_there(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra desk")
    done = subprocess.run(
        [sys.executable, DOCS / "pictures" / "draw.py", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (DOCS / "pictures").iterdir()} - SCRIPTS
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    for name in drawn:
        assert f"pictures/{name})" in text
        committed = DOCS / "pictures" / name
        assert committed.stat().st_size < 200_000
        if name.endswith(".svg"):  # the other one has sound in it, and so depends on the processor
            assert committed.read_bytes() == (tmp_path / name).read_bytes(), name
