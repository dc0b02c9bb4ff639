"""What more classes cost: head alone, CPU time of a chunk and of a window, bytes."""

from statistics import median
from time import process_time

import made_up
import numpy as np
from numpy.typing import NDArray

from edge_probe.head import MeanLinearHead, ProtobinHead, reference
from edge_probe.head.linear import layer_bytes
from edge_probe.spec import TokenBits

N_TOKENS, N_DIMS = 512, 768
"""5 s of a ViT-B."""

N_OWN = 20
COUNTS = (10, 30, 100, 300, 1_000, 3_000, 10_000)

MOST_DENSE = 1_000
"""Classes above which a dense layer is left out: its weights grow with their square."""

N_CHECKED = 500
"""Prototypes compared with the definition."""

ROUNDS = 7


def measure(counts: tuple[int, ...] = COUNTS, rounds: int = ROUNDS) -> list[dict[str, object]]:
    """A row for each number of classes and kind of head."""
    tokens = np.random.default_rng(1).normal(size=(N_TOKENS, N_DIMS)).astype(np.float32)
    rows = []
    for n_classes in counts:
        rows.append(_row(made_up.mean_linear(n_classes, N_DIMS), tokens, rounds))
        for bits, grouped in _kinds(n_classes):
            head = made_up.protobin(bits, n_classes, N_OWN * n_classes, N_DIMS, grouped=grouped)
            rows.append(_row(head, tokens, rounds))
    return rows


def _kinds(n_classes: int) -> list[tuple[TokenBits, bool]]:
    dense: list[tuple[TokenBits, bool]] = [(1, False)] if n_classes <= MOST_DENSE else []
    return [*dense, (1, True), (4, True)]


def _row(
    head: ProtobinHead | MeanLinearHead, tokens: NDArray[np.float32], rounds: int
) -> dict[str, object]:
    valid = np.ones(len(tokens), bool)
    if isinstance(head, ProtobinHead):
        _check(head, tokens, valid)
    window = head.merge([head.summarise(tokens, valid)])  # type: ignore[list-item]
    head.logits(window)  # type: ignore[arg-type]
    chunk_s, window_s = [], []
    for _ in range(rounds):
        begin = process_time()
        summary = head.summarise(tokens, valid)
        chunk_s.append(process_time() - begin)
        begin = process_time()
        head.logits(head.merge([summary]))  # type: ignore[arg-type,list-item]
        window_s.append(process_time() - begin)
    return {
        "n_classes": head.n_classes, "head": head.kind, "bits": str(head.bits),
        "layer": head.linear.kind, "cpu_ms_per_chunk": round(1e3 * median(chunk_s), 4),
        "cpu_ms_per_window": round(1e3 * median(window_s), 4), "rounds": rounds,
        "prototype_bytes": head.prototypes.nbytes if isinstance(head, ProtobinHead) else 0,
        "linear_bytes": layer_bytes(head.linear),
    }  # fmt: skip


def _check(head: ProtobinHead, tokens: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """The first and the last prototypes score as the definition says, to the bit."""
    digits, found = head.digits(tokens, valid), head.summarise(tokens, valid)
    for part in (slice(None, N_CHECKED), slice(-N_CHECKED, None)):
        scores, places = reference.max_scores(digits, head.prototypes[part])
        if not (np.array_equal(scores, found.scores[part])
                and np.array_equal(places, found.tokens[part])):  # fmt: skip
            raise SystemExit(f"{head.n_classes} classes, {head.bits} bits: wrong, not timed")
