"""Train one head with one seed, and measure it at every precision and linear layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_probe.head import Head as DeviceHead
from edge_probe.head import ProtobinHead
from edge_probe.head.linear import layer_bytes
from edge_probe.spec import TokenBits
from export.compare.trials import Trial
from export.heads import Head, head_bytes, n_parameters
from export.heads.pooled import MeanLinear
from export.heads.protobin import Protobin, TrainedHead
from export.metrics import DivergedError, average_precision_intervals, quality, resampled_maps
from export.parity import head_stages
from export.train import (
    Bags,
    Configuration,
    Recipe,
    binarise,
    logits_of,
    mean_linear_runtime,
    pack,
    train_head,
)
from export.train.fit import LinearLayer

N_RESAMPLES = 200
PARITY_CLIPS = 8
LAYERS: tuple[LinearLayer, ...] = ("int8", "int8-sparse", "float32")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """The clips of one data set under one encoder."""

    train: Bags
    validation: Bags
    test: Bags
    validation_groups: Sequence[str] | None
    """Source recordings of the validation clips; None where each clip is one of its own."""
    test_groups: Sequence[str] | None
    """Of the test clips."""


def validate(parts: Parts, head: str, trial: Trial, n_own: int, seed: int) -> float:
    """Validation macro mAP, in percent, of a head trained once; the test clips are not touched.

    0 where training diverges: another trial is then the better one.
    """
    try:
        module = _trained(parts, head, trial, n_own, seed)
        return _percent(logits_of(module, parts.validation), parts.validation)
    except DivergedError:
        return 0.0


def measure(
    parts: Parts, head: str, trial: Trial, n_own: int, seed: int, *, intervals: bool
) -> list[Row]:
    """Train a head and measure it on validation and test clips.

    Parameters
    ----------
    parts : Parts
    head : str
        A key of `HEADS`.
    trial : Trial
    n_own : int
        J, prototypes per class.
    seed : int
    intervals : bool
        Whether to bootstrap, of rows with the usual linear layer: it takes seconds a row.

    Returns
    -------
    list of dict
        One row per precision and linear layer of a protobin head, else one: ``bits, layer,
        validation, test`` (macro mAP in percent), ``auroc, top_1, low, high`` (of the test,
        ``low`` and `high` a 95 % bootstrap interval by source recording), ``per_class``,
        ``n_parameters, prototype_bytes, linear_bytes, parity``; with ``intervals`` also
        ``validation_resampled`` (`resampled_maps` in percent).
    """
    module = _trained(parts, head, trial, n_own, seed)
    about = {"n_parameters": n_parameters(module)}
    if not isinstance(module, Protobin):
        sizes = {"prototype_bytes": 0, "linear_bytes": head_bytes(module)}
        parity = None
        if isinstance(module, MeanLinear):
            parity = _parity(mean_linear_runtime(module), parts.validation)
        judged = partial(logits_of, module)
        row = {"bits": "float", "layer": "float32", **about, **sizes, "parity": parity}
        return [row | _judge(judged, parts, intervals)]
    rows = []
    for bits, device in _variants(module, parts, trial.onward, seed):
        row = {
            "bits": str(bits), "layer": device.linear.kind, **about,
            "prototype_bytes": device.prototypes.nbytes,
            "linear_bytes": layer_bytes(device.linear), "parity": _parity(device, parts.validation),
        }  # fmt: skip
        usual = device.linear.kind in ("int8", "int8-grouped")
        rows.append(row | _judge(partial(device_logits, device), parts, intervals and usual))
    return rows


def _trained(parts: Parts, head: str, trial: Trial, n_own: int, seed: int) -> Head:
    """A head of float tokens, its best epoch by the validation clips."""
    configuration = Configuration(head, n_own, trial.options, trial.recipe)
    return train_head(configuration, parts.train, seed=seed, validation=parts.validation)


def _variants(
    module: Protobin, parts: Parts, onward: Recipe, seed: int
) -> Iterator[tuple[TokenBits, ProtobinHead]]:
    """Every precision with int8 rows, and other linear layers of float and 1-bit tokens."""
    trained = TrainedHead.of(module, parts.train.in_order())
    layers = LAYERS[:1] if trained.class_bound else LAYERS
    bits: TokenBits
    for bits in ("float", 8, 4):
        for layer in layers if bits == "float" else layers[:1]:
            yield bits, pack(trained, parts.train, bits, layer)
    if module.offset.requires_grad:
        binarise(module, parts.train, onward, seed=seed, validation=parts.validation)
        trained = TrainedHead.of(module, parts.train.in_order())
        for layer in layers:
            yield 1, pack(trained, parts.train, 1, layer)


def device_logits(head: DeviceHead, bags: Bags) -> NDArray[np.float64]:
    """Logits of whole clips by the code that runs on the recorder: (N, C) float64."""
    return np.stack(
        [_logits(head, tokens.astype(np.float32), valid) for tokens, valid in bags.rows()]
    )


def _logits(
    head: DeviceHead, tokens: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Logits of one clip taken as one chunk: the maximum does not ask where chunks end."""
    whole = head.merge([head.summarise(tokens, valid)])  # type: ignore[list-item]
    return head.logits(whole)  # type: ignore[arg-type]


def _parity(head: DeviceHead, bags: Bags) -> Row:
    """Whether torch, onnxruntime and all kernels compute what the device does, on some clips.

    ``passed``: every stage keeps its contract. ``error``: the largest difference of stages that
    may differ; 0 where all contracts are equality of bits, but for torch's cosine.
    """
    rows = [
        (tokens.astype(np.float32), valid) for tokens, valid in islice(bags.rows(), PARITY_CLIPS)
    ]
    stages = head_stages(head, [tokens for tokens, _ in rows], [valid for _, valid in rows])
    exact = isinstance(head, ProtobinHead) and head.bits != "float"
    error = max(s.max_error for s in stages if not (exact and s.name == "scores: torch cosine"))
    return {"passed": all(stage.passed for stage in stages), "error": error}


def _judge(logits: Callable[[Bags], NDArray[np.floating]], parts: Parts, intervals: bool) -> Row:
    """Quality on validation and test clips."""
    heard = logits(parts.validation)
    given, targets = logits(parts.test), parts.test.targets
    found = quality(given, targets)
    row: Row = {
        "validation": _percent(heard, parts.validation),
        "test": _in_percent(found.macro_map),
        "auroc": _in_percent(found.macro_auroc),
        "top_1": _in_percent(found.top_1),
        "per_class": [_in_percent(value) for value in found.average_precision],
        "low": None,
        "high": None,
    }
    if intervals:
        sure = average_precision_intervals(
            given, targets, parts.test_groups, n_resamples=N_RESAMPLES
        )
        maps = resampled_maps(
            heard, parts.validation.targets, parts.validation_groups, n_resamples=N_RESAMPLES
        )
        row["validation_resampled"] = [_in_percent(value) for value in maps]
        per_class = zip(map(_in_percent, sure.low), map(_in_percent, sure.high), strict=True)
        row |= {"low": _in_percent(sure.macro_low), "high": _in_percent(sure.macro_high)}
        row["per_class_intervals"] = list(per_class)
    return row


def _percent(logits: NDArray[np.floating], bags: Bags) -> float:
    value = quality(logits, bags.targets).macro_map
    return 0.0 if value is None else round(100 * value, 3)


def _in_percent(value: float | None) -> float | None:
    """Percent to a thousandth; None where there is no value."""
    return None if value is None or np.isnan(value) else round(100 * float(value), 3)
