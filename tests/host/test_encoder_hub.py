"""Checkpoints named by where they are on Hugging Face's hub, without the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_probe.errors import EdgeProbeError
from export.encoders.hub import local_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"

ASK = """
import sys
from edge_probe.errors import EdgeProbeError
from export.encoders.hub import local_file
for source in sys.argv[1:]:
    try:
        print(local_file(source))
    except EdgeProbeError as error:
        print(f"{error.message} | {error.hint}")
"""


def ask(home: Path, *sources: str) -> list[str]:
    """Answers of a process that is told to stay offline, one line each."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", ASK, *sources], env=environment, check=True,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What huggingface_hub keeps of two models that were downloaded before."""
    home = tmp_path_factory.mktemp("hf")
    for model, file in (("me--new", "model.safetensors"), ("me--old", "pytorch_model.bin")):
        folder = home / "hub" / f"models--{model}"
        snapshot = folder / "snapshots" / COMMIT
        for path in (snapshot / file, snapshot / "more" / "other.pt", folder / "refs" / "main"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(COMMIT, encoding="utf-8")
    return home


def test_what_was_downloaded_before_needs_no_hub(home: Path) -> None:
    new, old, other, pinned = ask(
        home, "hf:me/new", "hf:me/old", "hf:me/old/more/other.pt", f"hf:me/new@{COMMIT}"
    )
    assert new.endswith(f"models--me--new/snapshots/{COMMIT}/model.safetensors")
    assert old.endswith("pytorch_model.bin")
    assert other.endswith("more/other.pt")
    assert pinned == new


def test_what_cannot_be_had_is_one_line(home: Path) -> None:
    unknown, revision, file = ask(home, "hf:me/none", "hf:me/new@v9", "hf:me/new/lost.pt")
    assert unknown.startswith("hf:me/none: no model.safetensors or pytorch_model.bin here or on")
    assert revision.startswith("hf:me/new@v9: no model.safetensors or pytorch_model.bin here")
    assert file.startswith("hf:me/new/lost.pt: no lost.pt here or on the hub")
    assert all("| download the file yourself" in line for line in (unknown, revision, file))


def test_a_path_is_left_alone() -> None:
    assert local_file("some/eat.pt") == Path("some/eat.pt")


@pytest.mark.parametrize("source", ["hf:", "hf:eat", "hf:a b/c", "hf:me/new@"])
def test_names_that_are_none(source: str) -> None:
    with pytest.raises(EdgeProbeError, match="expected hf:owner/name"):
        local_file(source)
