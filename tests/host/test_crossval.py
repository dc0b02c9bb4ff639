"""Cross-validation never takes an encoder or a result that other material made."""

import argparse
from pathlib import Path

import pytest

from export import crossval
from export.card import CARDS
from export.commands.tokens import DEMO_ENCODER
from export.demo import train


def test_work_of_other_material_or_recipe_is_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "esc10" / "audio" / "a.ogg"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"clip")
    table = tmp_path / "esc10" / "meta.csv"
    table.write_text("file,fold,target,category\na.ogg,1,0,Rain\n")
    background = tmp_path / "field" / "X_20190522_080000.flac"
    background.parent.mkdir()
    background.write_bytes(b"field")

    def folder(encoder: Path | None = None) -> Path:
        return crossval.work_folder(
            argparse.Namespace(
                esc10=tmp_path / "esc10", background=background.parent, encoder=encoder,
                card=CARDS / "demo_encoder.toml", work=tmp_path / "work",
            )
        )  # fmt: skip

    found = [folder(), folder(DEMO_ENCODER)]
    assert folder() == found[0]
    clip.write_bytes(b"another clip")
    found.append(folder())
    background.write_bytes(b"another field")
    found.append(folder())
    table.write_text("file,fold,target,category\na.ogg,2,0,Rain\n")
    found.append(folder())
    monkeypatch.setattr(train, "N_STEPS", 1)
    found.append(folder())
    assert len(set(found)) == len(found)
    assert {each.parent for each in found} == {tmp_path / "work"}
