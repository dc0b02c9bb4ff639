"""Linters, types and import rules are tests like any other."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ["edge_probe", "export", "firmware_tools", "tests", "benchmarks", "docs"]

CHECKS = {
    "ruff": ["-m", "ruff", "check", *FOLDERS],
    "ruff format": ["-m", "ruff", "format", "--check", *FOLDERS],
    "mypy": ["-m", "mypy"],
    "import-linter": ["-c", "from importlinter.cli import lint_imports_command as c; c()"],
}
NEEDS = {"ruff": "ruff", "ruff format": "ruff", "mypy": "mypy", "import-linter": "importlinter"}


@pytest.mark.parametrize("check", CHECKS)
def test_lint(check: str) -> None:
    pytest.importorskip(NEEDS[check], reason="needs the extra dev")
    done = subprocess.run(
        [sys.executable, *CHECKS[check]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_scripts_parse() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
