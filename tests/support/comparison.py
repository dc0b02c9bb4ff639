"""Rows of a comparison, made up."""

from typing import Any

Row = dict[str, Any]


def row(head: str, bits: str, seed: int, validation: float, test: float, **other: object) -> Row:
    about = {
        "data": "songs", "encoder": "net", "prototypes_per_class": 20, "layer": "int8",
        "encoder_bytes": 1000, "n_dims": 8, "n_parameters": 10, "prototype_bytes": 100,
        "linear_bytes": 50, "trial": {}, "auroc": 90.0, "top_1": None, "low": test - 2,
        "high": test + 1, "validation_resampled": [validation - 0.5, validation + 0.5],
        "parity": {"passed": True, "error": 0.0}, "per_class": [test],
    }  # fmt: skip
    given = {"head": head, "bits": bits, "seed": seed, "validation": validation, "test": test}
    return about | given | other


def rows() -> list[Row]:
    """Validation prefers the offset; the test would have preferred the paper's head and 4 bits."""
    return [
        each
        for seed, more in enumerate((-0.5, 0.5))
        for each in (
            row("linear-mean", "float", seed, 80 + more, 81, prototype_bytes=0, layer="float32"),
            row("protobin", "float", seed, 84, 90 + more),
            row("protobin-offset", "float", seed, 85, 88 + more),
            row("protobin-offset", "float", seed, 86, 99, layer="float32"),
            row("protobin-offset", "8", seed, 85, 88 + more),
            row("protobin-offset", "4", seed, 84.4, 89 + more),
            row("protobin-offset", "1", seed, 84.6, 87.5 + more),
            row("protobin-offset", "1", seed, 86, 99, layer="int8-sparse"),
        )
    ]
