"""Every family computes what its authors' code computes, from a checkpoint in their layout."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.encoder_size import SIZE, keep
from support.seeded_encoder import golden

from export.encoders.encoder import Loaded, load_encoder
from export.encoders.families import NAMES, family
from export.encoders.family import Wish
from export.foreign.containers import read_checkpoint

TOLERANCE = 1e-5
"""Of the largest component, or of 1."""


def load(name: str, path: Path) -> Loaded:
    """The seeded checkpoint of a golden file, through a file of its layout."""
    known = golden(name)
    save_file(known.checkpoint(SIZE), path)
    sizes, found = known.facts["sizes"][SIZE], family(name)
    chunk_s = sizes["frames"] * found.front_end.hop_samples / found.front_end.sample_rate_hz
    return load_encoder(read_checkpoint(path), found, chunk_s, Wish(sizes["depth"], None))


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_the_authors(name: str, tmp_path: Path) -> None:
    loaded = load(name, tmp_path / "seeded.safetensors")
    known = golden(name)
    assert loaded.named.naming.title == known.facts["naming"]
    with torch.no_grad():
        tokens = loaded.module.body(torch.from_numpy(known.spectrogram(SIZE))[None])
    places, expected = known.tokens(SIZE)
    found = tokens[0, loaded.module.n_cls :].numpy().ravel()[places]
    assert 0.1 < np.abs(expected).mean() < 10  # neither dead nor exploded
    difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
    assert difference <= TOLERANCE
    keep(name, tokens_from_authors=difference)


def test_the_readme_says_of_every_family_what_its_description_says() -> None:
    readme = Path(__file__).parents[2] / "export" / "encoders" / "README.md"
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == list(NAMES)
    for name, row in rows:
        known = family(name)
        front_end, patches = known.front_end, known.body.patches
        rate_hz = front_end.sample_rate_hz
        a_second = rate_hz / (front_end.hop_samples * patches.step_frames)
        licence, commercial, rate, _, tokens, _ = (cell.strip() for cell in row.split("|"))
        assert (licence, commercial) == (known.weights.licence, known.weights.commercial)
        assert rate == f"{rate_hz // 1000} kHz"
        assert tokens == f"{a_second:g} x {patches.n_rows}"
