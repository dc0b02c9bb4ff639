"""Somebody's head, an encoder and labels as a signed bundle."""

import dataclasses
import hashlib
import math
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import Bundle, files, write_bundle
from edge_probe.bundle.manifest import MAX_ROLE_BYTES
from edge_probe.bundle.writer import check_plan
from edge_probe.encoder import Encoder
from edge_probe.errors import EdgeProbeError
from edge_probe.head import Head, MeanLinearHead, ProtobinHead, ProtofloatHead
from edge_probe.head.linear import layer_bytes
from edge_probe.spec import EncoderSpec, WindowSpec
from export.assemble import conformance_audio
from export.card import EncoderCard
from export.foreign import CheckpointError
from export.foreign.recipe import Recipe
from export.foreign.token_steps import with_steps

MAX_HEAD_BYTES = MAX_ROLE_BYTES[files.HEAD]

WINDOW = WindowSpec(window_chunks=1, hop_chunks=1, refractory_s=0.0)
"""One clip as such heads were trained on is one chunk of their encoder."""


def import_bundle(
    checkpoint: Path,
    recipe: Recipe,
    card: EncoderCard,
    labels: tuple[str, ...],
    out: Path,
    *,
    name: str,
    threshold_score: float,
    replace: bool,
) -> Bundle:
    """Write, sign and open the bundle.

    Parameters
    ----------
    checkpoint : Path
        What ``recipe`` was read from.
    recipe : Recipe
    card : EncoderCard
    labels : tuple of str
        C.
    out : Path
    name : str
    threshold_score : float
        Between 0 and 1; of every class, as nothing is known to fit thresholds to.
    replace : bool

    Raises
    ------
    EdgeProbeError
        Head, encoder and labels do not belong together, or a bundle cannot hold them.
    """
    check_plan(
        out, name=name, encoder=card.spec, provenance=card.provenance, windows=WINDOW,
        labels=labels, replace=replace,
    )  # fmt: skip
    _check_fit(checkpoint, recipe, card, labels)
    _check_size(checkpoint, recipe.head)
    threshold = math.log(threshold_score / (1 - threshold_score))
    with checkpoint.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        fed = with_steps(card, recipe.steps, Path(folder))
        return write_bundle(
            out,
            name=name,
            created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            encoder=fed.spec,
            graph=fed.graph,
            external_data=fed.external_data,
            provenance=dict(fed.provenance),
            head=_with_reference(recipe.head, fed),
            windows=WINDOW,
            labels=labels,
            threshold_on=np.full(len(labels), threshold),
            threshold_off=np.full(len(labels), threshold),
            conformance_audio=conformance_audio(fed.spec),
            training={
                "background_clips": 0,
                "no_background": True,
                "imported": {
                    "file": checkpoint.name,
                    "sha256": sha256,
                    "lineage": recipe.lineage,
                    "token_steps": list(recipe.steps.describe()),
                },
                "thresholds": f"not calibrated: score {threshold_score} for every class",
                "reference_scores": "of made-up sound",
            },
            replace=replace,
        )


def _check_fit(
    checkpoint: Path, recipe: Recipe, card: EncoderCard, labels: tuple[str, ...]
) -> None:
    n_dims = recipe.head.n_token_dims - (recipe.steps.appended is not None)
    if n_dims != card.spec.grid.n_dims:
        raise CheckpointError(
            f"{checkpoint}: its head reads tokens of {n_dims} components, those of {card.graph} "
            f"({card.spec.output_name}) have {card.spec.grid.n_dims}",
            hint="a head works with the encoder and the layer that it was trained on",
        )
    if recipe.sample_rate_hz not in {None, card.spec.sample_rate_hz}:
        raise CheckpointError(
            f"{checkpoint}: was trained at {recipe.sample_rate_hz} Hz, {card.graph} hears "
            f"{card.spec.sample_rate_hz} Hz",
            hint="a head works with the encoder that it was trained on",
        )
    if recipe.head.n_classes != len(labels):
        raise CheckpointError(
            f"{checkpoint}: has {recipe.head.n_classes} classes, the labels are {len(labels)}",
            hint="one line for each class, in the order of training",
        )


def _check_size(checkpoint: Path, head: Head) -> None:
    n_bytes = layer_bytes(head.linear)
    if not isinstance(head, MeanLinearHead):
        n_bytes += head.prototypes.nbytes
    if n_bytes > MAX_HEAD_BYTES:
        raise CheckpointError(
            f"{checkpoint}: its head takes {n_bytes / 2**20:.0f} MiB, a bundle holds at most "
            f"{MAX_HEAD_BYTES / 2**20:.0f}",
            hint="take a checkpoint with fewer prototypes for each class, or try --linear int8",
        )


def _with_reference(head: Head, card: EncoderCard) -> Head:
    """Reference scores from made-up sound: without clips, the best guess of what is unremarkable.

    They only decide where the box of a detection lies.
    """
    if not isinstance(head, ProtobinHead | ProtofloatHead):
        return head
    encoder = Encoder(card.graph, card.spec, profile="fast")
    valid = np.ones(card.spec.grid.n_tokens, bool)
    chunks = [
        head.summarise(encoder.tokens(samples), valid) for samples in _made_up_chunks(card.spec)
    ]
    return dataclasses.replace(head, reference_scores=head.merge(chunks).scores)


def _made_up_chunks(spec: EncoderSpec) -> NDArray[np.float32]:
    """(n, chunk_samples) float32; `conformance_audio` makes whole chunks."""
    audio = conformance_audio(spec).astype(np.float32) / np.float32(2**15)
    return audio.reshape(-1, spec.chunk_samples)


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names, one a line: UTF-8, with or without byte order mark, any line ends.

    Raises
    ------
    EdgeProbeError
        The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeProbeError(
            f"{path}: {error}", hint="a UTF-8 file with one class a line, in the order of training"
        ) from error
    return tuple(line.strip() for line in text.rstrip().splitlines())
