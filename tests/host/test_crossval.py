"""Cross-validation never takes an encoder or a result that other material made."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from support.planted_bags import planted_bags

from export import crossval
from export.card import CARDS
from export.commands.tokens import DEMO_ENCODER
from export.demo import train
from export.tokens import ClipTokens


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


def test_every_precision_and_the_probe_are_trained() -> None:
    bags = planted_bags(36, 1, 1, seed=0, n_classes=3, strength=4.0)
    heads = crossval.heads_of(bags, seed=0)
    assert {name: head.bits for name, head in heads.items()} == {
        "float": "float", "8": 8, "4": 4, "1": 1, "mean-linear": "float",
    }  # fmt: skip
    heard = bags.targets.any(dim=1)
    tokens = [part for part, here in zip(bags.rows(), heard, strict=True) if here]
    clips = [ClipTokens(part[None], valid[None]) for part, valid in tokens]
    targets = bags.targets[heard].argmax(dim=1).numpy()
    right = {name: crossval.accuracy(head, clips, targets) for name, head in heads.items()}
    assert min(right.values()) > 0.85, right
    assert crossval.accuracy(heads["1"], clips, (targets + 1) % 3) < 0.15


def test_the_padding_behind_a_clip_is_not_heard() -> None:
    """It would score 0, which is above all scores of a standardised head."""

    class Head:
        def summarise(self, _tokens: np.ndarray, valid: np.ndarray) -> bool:
            return bool(valid.any())

        def merge(self, chunks: list[bool]) -> list[bool]:
            return chunks

        def logits(self, chunks: list[bool]) -> np.ndarray:
            return np.array([all(chunks), not all(chunks)])

    tokens, valid = np.zeros((2, 4, 8), np.float16), np.array([[True] * 4, [False] * 4])
    clip, target = ClipTokens(tokens, valid), np.array([0])
    assert crossval.accuracy(Head(), [clip], target) == 1.0  # type: ignore[arg-type]
