"""Which head goes to the device: the smallest that loses little, judged on clips it never heard."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_probe.spec import TokenBits

LINEAR_PROBE = "mean-linear"

PRECISIONS: dict[str, TokenBits] = {"1": 1, "4": 4, "8": 8, "float": "float"}
"""Token precisions of a protobin head, the smallest first."""

LOSS_BUDGET = 0.5
"""Points of macro mAP that a smaller head may lose."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is deployed, and why."""

    name: str
    """A key of `PRECISIONS`, or `LINEAR_PROBE`."""
    reason: str
    """One line."""


def candidates(head: str | None, bits: str | None) -> tuple[str, ...]:
    """Names of the heads that are measured.

    Parameters
    ----------
    head : "protobin", "mean-linear" or None
        None leaves it to the measurement.
    bits : a key of `PRECISIONS` or None
    """
    if bits is not None:
        return (bits,)
    if head == LINEAR_PROBE:
        return (LINEAR_PROBE,)
    return (*PRECISIONS, LINEAR_PROBE) if head is None else tuple(PRECISIONS)


def choose(quality: Mapping[str, float], budget: float = LOSS_BUDGET) -> Choice:
    """Choose by macro mAP on validation clips.

    The plain linear probe is deployed where it beats every protobin head: it costs less and the
    prototypes bring nothing. Else the smallest precision within ``budget`` of float tokens.

    Parameters
    ----------
    quality : mapping
        Macro mAP in percent of "float" and any other keys of `PRECISIONS`, and of `LINEAR_PROBE`.
        Or of a single head, which is then chosen.
    budget : float
        Points.
    """
    if len(quality) == 1:
        return Choice(next(iter(quality)), "as asked for")
    exact = quality["float"]
    best = max(quality, key=lambda name: quality[name] if name in PRECISIONS else -1.0)
    probe = quality.get(LINEAR_PROBE, -1.0)
    if probe > quality[best]:
        return Choice(
            LINEAR_PROBE,
            f"a linear layer on the mean token reaches {probe:.1f}, the best prototypes "
            f"({best}) {quality[best]:.1f}",
        )
    name = next(name for name in PRECISIONS if name in quality and quality[name] >= exact - budget)
    tried = ", ".join(f"{n} {quality[n]:.1f}" for n in PRECISIONS if n in quality)
    return Choice(name, f"the smallest within {budget:g} points of float tokens: {tried}")
