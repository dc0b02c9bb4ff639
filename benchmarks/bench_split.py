"""Where the memory of a classifier process goes, part by part."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import made_up
from apart import apart

from export.card import EncoderCard

PARTS = ("interpreter", "runtime", "bundle", "prototypes", "linear_layer", "encoder", "buffers")

MANY_CLASSES = 10_000


def measure(
    cards: Mapping[str, EncoderCard], n_many: int = MANY_CLASSES
) -> list[dict[str, object]]:
    """A row for 10 classes behind each encoder, and one for many behind the last.

    ``prototypes`` (packed, and in the order of the kernel) and ``linear_layer`` are bytes of
    arrays, and ``bundle`` is the rest of what opening it made resident; ``buffers`` are what the
    peak of the process adds to the encoder at rest.
    """
    rows = [_row(name, card, 10, 200) for name, card in cards.items()]
    name, card = list(cards.items())[-1]
    return [*rows, _row(name, card, n_many, 20 * n_many)]


def _row(name: str, card: EncoderCard, n_classes: int, n_prototypes: int) -> dict[str, object]:
    grouped = n_classes > 100
    head = made_up.protobin(1, n_classes, n_prototypes, card.spec.grid.n_dims, grouped=grouped)
    with tempfile.TemporaryDirectory(prefix="edge-probe-") as folder:
        made_up.bundle(card, head, Path(folder) / "bundle")
        found = apart("split_process.py", {"bundle": f"{folder}/bundle"})
    after = found["after"]
    head_mib = {part: n_bytes / 2**20 for part, n_bytes in found["head_bytes"].items()}
    rss = {stage: sizes["rss"] for stage, sizes in after.items()}
    peak = after["buffers"]["peak"]
    parts = {
        "interpreter": rss["interpreter"],
        "runtime": rss["runtime"] - rss["interpreter"],
        "bundle": rss["bundle"] - rss["runtime"] - sum(head_mib.values()),
        **head_mib,
        "encoder": rss["encoder"] - rss["bundle"],
        "buffers": peak - rss["encoder"],
    }
    return {
        "encoder": name, "n_classes": n_classes, "n_prototypes": n_prototypes,
        "layer": head.linear.kind, "parts_mib": {part: round(parts[part], 3) for part in PARTS},
        "peak_rss_mib": round(peak, 1), "anonymous_mib": round(after["buffers"]["anonymous"], 1),
    }  # fmt: skip
