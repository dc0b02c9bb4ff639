"""What a study is about: clips to learn from and to judge by; those for the test stay untouched."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.clips import ClipSet
from export.clips.splits import Splits, split_three_ways
from export.material import learnable_targets
from export.tokens import Encoded, TokenCache, encoder_key
from export.train import Bags
from export.tune.storage import StudyError


@dataclass(frozen=True, slots=True)
class Subject:
    """Training and validation clips of one encoder."""

    train: Bags
    validation: Bags
    about: dict[str, Any]
    """Encoder, clips and split in plain values: two processes with the same have the same bags."""

    @classmethod
    def of(cls, clips: ClipSet, encoded: Encoded, cache: TokenCache) -> "Subject":
        """Split encoded clips by source recording, as a comparison does.

        Parameters
        ----------
        clips : ClipSet
        encoded : Encoded
            What the cache made of them.
        cache : TokenCache

        Raises
        ------
        ClipsError
            There are too few recordings to split.
        StudyError
            There are no clips to learn from, or none that a class can be judged by.
        """
        splits = split_three_ways(encoded.clips)
        for name, rows in (("training", splits.train), ("validation", splits.validation)):
            if not len(rows):
                raise StudyError(
                    f"no clip is for {name}",
                    hint=f"put clips of some recordings into {name} by the column split, or leave "
                    "it empty",
                )
        targets = learnable_targets(encoded, clips.labels)
        n_freq = cache.card.spec.grid.n_freq
        train, validation = (
            Bags([encoded.tokens[row] for row in rows], targets[rows], n_freq)
            for rows in (splits.train, splits.validation)
        )
        about = {
            "encoder": encoder_key(cache.card),
            "clips": _fingerprint(encoded, targets, splits),
            "n_train": len(train),
            "n_validation": len(validation),
        }
        return cls(train, validation, about)

    def __post_init__(self) -> None:
        targets = self.validation.targets
        if not ((targets == 1).any(dim=0) & (targets == 0).any(dim=0)).any():
            raise StudyError(
                f"{len(self.validation)} validation clips do not hold any class that others of "
                "them lack: nothing can be judged by them",
                hint="add recordings, or put some into validation by a column split",
            )


def _fingerprint(encoded: Encoded, targets: NDArray[np.float32], splits: Splits) -> str:
    """Of audio, labels, order and split; not of where the files lie: 40 hex digits."""
    digest = hashlib.sha256("".join(encoded.keys).encode() + targets.tobytes())
    for rows in (splits.train, splits.validation):
        digest.update(rows.tobytes())
    return digest.hexdigest()[:40]
