"""From a file to a head and to what its encoder must do: nothing is guessed."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import FloatLinear, Head, MeanLinearHead, ProtobinHead, ProtofloatHead
from edge_probe.head.packing import pack_signs
from edge_probe.head.protofloat import unit_length
from export.foreign import CheckpointError, ppnet
from export.foreign.birdnet import read_classifier
from export.foreign.containers import Checkpoint, read_checkpoint
from export.foreign.dense import DenseLayer, find_dense
from export.foreign.layer import LinearKind, linear_layer, rounding_loss
from export.foreign.prototypes import PrototypeTensors, find_prototypes, has_prototypes
from export.foreign.token_steps import TokenSteps

PrototypeKind = Literal["protobin", "protofloat"]


@dataclass(frozen=True, slots=True)
class Declared:
    """What the user says about a checkpoint, because its tensors do not."""

    head: PrototypeKind | None = None
    raw_tokens: bool = False
    """Tokens are matched as the encoder gives them."""
    minus_cls: str | None = None
    """[cls] is taken from them first: the output of the encoder graph that holds it."""
    upsample: int | None = None
    linear: LinearKind | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A head, still without reference scores, and how to feed it."""

    lineage: str
    head: Head
    steps: TokenSteps
    sample_rate_hz: int | None
    """Of the audio it was trained on; None where the file does not say."""
    notes: tuple[str, ...] = ()
    """What its user should know, a line each."""


def read_recipe(path: Path, declared: Declared) -> Recipe:
    """What to build from a file.

    Raises
    ------
    CheckpointError
        The file holds no head that is known here, or does not say enough about it.
    """
    if path.suffix == ".tflite":
        return _mean_linear("BirdNET-Analyzer custom classifier", read_classifier(path), declared)
    checkpoint = read_checkpoint(path)
    if not has_prototypes(checkpoint):
        return _mean_linear("dense layer", find_dense(checkpoint), declared)
    found = find_prototypes(checkpoint)
    if found.layer == "last_layer":
        return _ppnet(checkpoint, found, declared)
    return _prototypes(checkpoint, found, declared)


def _mean_linear(lineage: str, dense: DenseLayer, declared: Declared) -> Recipe:
    if declared != Declared():
        raise CheckpointError(
            f"a {lineage} is float32 weights on the mean token and nothing else",
            hint="leave --head, --minus-cls, --raw-tokens, --upsample and --linear out",
        )
    layer = FloatLinear(dense.weights, dense.bias.astype(np.float64))
    return Recipe(lineage, MeanLinearHead(layer), TokenSteps(), None)


def _prototypes(checkpoint: Checkpoint, found: PrototypeTensors, declared: Declared) -> Recipe:
    """Protobin and its float twin: the same tensors, with or without the sign."""
    facts = checkpoint.facts
    if facts.get("frame_wise_task"):
        raise CheckpointError(
            f"{checkpoint.path}: was trained for a decision on every time step (frame_wise_task); "
            "a bundle's head takes the maximum over time before its linear layer",
            hint="train with frame_wise_task: false, or teach a head here with edge-export fit",
        )
    kind = _kind(checkpoint, declared)
    is_bat = found.layer == "fc" and facts.get("head") == "protobin"
    steps = TokenSteps(
        None if is_bat and declared.minus_cls is None else _minus_cls(checkpoint, declared),
        declared.upsample or 1,
    )
    layer = linear_layer(found.weights, found.bias, len(found.vectors), declared.linear)
    zeros = np.zeros(found.vectors.shape[1], np.float32), np.zeros(len(found.vectors), np.float32)
    head: Head
    if kind == "protobin":
        head = ProtobinHead(pack_signs(found.vectors), zeros[0], "float", layer, zeros[1])
    else:
        head = ProtofloatHead(unit_length(found.vectors), zeros[0], layer, zeros[1], False)
    return Recipe(
        "BAT Protobin" if is_bat else kind,
        head,
        steps,
        _sample_rate_hz(checkpoint),
        _loss_note(found.weights, head),
    )


def _kind(checkpoint: Checkpoint, declared: Declared) -> PrototypeKind:
    said: PrototypeKind | None = "protobin" if checkpoint.facts.get("head") == "protobin" else None
    if said and declared.head not in {None, said}:
        raise CheckpointError(
            f"{checkpoint.path}: says that its head is {said}, not {declared.head}",
            hint="leave --head out",
        )
    if kind := declared.head or said:
        return kind
    raise CheckpointError(
        f"{checkpoint.path}: protobin and protofloat heads have the same tensors, and this file "
        "does not say which it is",
        hint="say --head protobin if signs of the prototypes were matched in training, else "
        "--head protofloat",
    )


def _sample_rate_hz(checkpoint: Checkpoint) -> int | None:
    """Of the audio it was trained on, where the file says so; a config may give it as a text."""
    said = checkpoint.facts.get("sr")
    if said is None:
        return None
    if isinstance(said, int | float | str) and not isinstance(said, bool):
        with suppress(ValueError, OverflowError):
            rate = float(said)
            if rate > 0 and rate.is_integer():
                return int(rate)
    raise CheckpointError(
        f"{checkpoint.path}: expected a sample rate in whole hertz as sr, found {said!r}",
        hint="correct sr in the checkpoint, or save the weights alone: nothing is then checked",
    )


def _minus_cls(checkpoint: Checkpoint, declared: Declared) -> str | None:
    if (declared.minus_cls is None) != declared.raw_tokens:
        raise CheckpointError(
            f"{checkpoint.path}: does not say what its tokens were",
            hint="say --minus-cls OUTPUT, with the output of the encoder graph that holds [cls], "
            "if it was taken from every token (focal_similarity: true in Bird-MAE; soundscape_mae "
            "always does), else --raw-tokens",
        )
    return declared.minus_cls


def _ppnet(checkpoint: Checkpoint, found: PrototypeTensors, declared: Declared) -> Recipe:
    if declared.head is not None:
        raise CheckpointError(
            f"{checkpoint.path}: {found.prefix}last_layer.weight belongs to a PPNet, whose "
            "prototypes are floats",
            hint="leave --head out",
        )
    config = checkpoint.facts if checkpoint.facts.get("model_type") == "AudioProtoNet" else {}
    non_negative = bool(config.get("non_negative_last_layer", True))
    folded = ppnet.fold(found, non_negative=non_negative)
    n_prototypes, n_dims = folded.vectors.shape
    head = ProtofloatHead(
        unit_length(folded.vectors),
        np.zeros(n_dims, np.float32),
        linear_layer(folded.weights, found.bias, n_prototypes, declared.linear),
        np.zeros(n_prototypes, np.float32),
        True,
    )
    steps = TokenSteps(
        # The ConvNeXt of AudioProtoPNet has no [cls].
        None if config and declared.minus_cls is None else _minus_cls(checkpoint, declared),
        _upsample(checkpoint, declared, str(config.get("add_on_layers_type"))),
        ppnet.TOKEN_COMPONENT,
    )
    notes = _loss_note(folded.weights, head)
    if non_negative and (n_negative := int((found.weights < 0).sum())):
        notes += (f"{n_negative} negative weights count as 0, as in the training of a PPNet",)
    return Recipe("AudioProtoPNet" if config else "PPNet", head, steps, None, notes)


def _upsample(checkpoint: Checkpoint, declared: Declared, add_on_layers: str) -> int:
    if declared.upsample is not None:
        return declared.upsample
    if add_on_layers in {"upsample", "identity"}:
        return 2 if add_on_layers == "upsample" else 1
    raise CheckpointError(
        f"{checkpoint.path}: does not say whether its token map was upsampled",
        hint="say --upsample 2 if it was trained with add_on_layers_type: upsample (the default "
        "of Bird-MAE and AudioProtoPNet), --upsample 1 with identity",
    )


def _loss_note(weights: NDArray[np.floating], head: Head) -> tuple[str, ...]:
    loss = rounding_loss(weights, head.linear)
    if not loss:
        return ()
    return (f"int8 weights: no logit moves by more than {loss:.2g}; --linear float32 keeps all",)
