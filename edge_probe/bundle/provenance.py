"""What was done to an encoder before it came into a bundle, in a line for each step.

The manifest leaves all of it free (`FORMAT.md`): what is not as ``edge-export`` writes it is left
out, and never an error.
"""

from collections.abc import Iterator, Mapping

from edge_probe.bundle.reject import shown
from edge_probe.bundle.schema import Json

_PROOFS = ("largest_difference", "largest_difference_to_torch")
"""Keys of steps that compute the same numbers in another way."""

_HEADS = {"float": "float tokens", "1bit": "1-bit tokens"}


def step_lines(provenance: Mapping[str, Json]) -> list[str]:
    """The steps in order, each with what it lost.

    Parameters
    ----------
    provenance : mapping
        Of a bundle's encoder.
    """
    steps = provenance.get("steps")
    return [
        ", ".join((_text(step["what"]), *_facts(step)))
        for step in (steps if isinstance(steps, list) else ())
        if isinstance(step, dict) and isinstance(step.get("what"), str)
    ]


def _facts(step: Mapping[str, Json]) -> Iterator[str]:
    for key in ("family", "checkpoint"):
        if isinstance(value := step.get(key), str):
            yield _text(value)
    for key in _PROOFS:
        if _are_numbers(value := step.get(key)):
            yield f"tokens differ by {value:.1g} at most"
    mean, least = step.get("token_cosine_mean"), step.get("token_cosine_min")
    if _are_numbers(mean, least):
        yield f"token cosine {mean:.4f} ({least:.2f} at least)"
    for key, heads in _HEADS.items():
        before, after = step.get(f"{key}_map_before"), step.get(f"{key}_map_after")
        if _are_numbers(before, after):
            yield f"mAP {before:.2f} -> {after:.2f} with {heads}"


def _are_numbers(*values: Json) -> bool:
    return all(type(value) in (int, float) for value in values)


def _text(value: str) -> str:
    return value if value.isprintable() else shown(value)
