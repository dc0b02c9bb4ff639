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


def choose(
    quality: Mapping[str, float | None],
    budget: float = LOSS_BUDGET,
    doubt: Mapping[str, float] | None = None,
) -> Choice:
    """Choose by macro mAP on validation clips.

    The plain linear probe is deployed where it beats every protobin head: it costs less and the
    prototypes bring nothing. Else the smallest precision within ``budget`` of float tokens. Where
    nothing could be measured, 8 bits, which in practice lose nothing.

    Parameters
    ----------
    quality : mapping
        Macro mAP in percent of "float" and any other keys of `PRECISIONS`, and of `LINEAR_PROBE`;
        None for all where no clip could judge them. Or of a single head, which is then chosen.
    budget : float
        Points.
    doubt : mapping, optional
        Points by which the loss of a precision may be larger than measured, where that is known:
        it must be within the budget all the same.
    """
    if len(quality) == 1:
        return Choice(next(iter(quality)), "as asked for")
    measured = {name: value for name, value in quality.items() if value is not None}
    if not measured:
        return Choice(
            "8", "in practice as good as float tokens; no clips could be held out to tell"
        )
    tokens = {name: measured[name] for name in PRECISIONS if name in measured}
    best = max(tokens, key=tokens.__getitem__)
    probe = measured.get(LINEAR_PROBE)
    if probe is not None and probe > tokens[best]:
        return Choice(
            LINEAR_PROBE,
            f"a linear layer on the mean token reaches {probe:.1f}, the best prototypes "
            f"({best}) {tokens[best]:.1f}",
        )
    sure = {name: value - (doubt or {}).get(name, 0.0) for name, value in tokens.items()}
    name = next(name for name, value in sure.items() if value >= tokens["float"] - budget)
    tried = ", ".join(f"{name} {value:.1f}" for name, value in tokens.items())
    return Choice(name, f"the smallest within {budget:g} points of float tokens: {tried}")
