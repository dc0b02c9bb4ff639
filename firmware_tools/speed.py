"""Seconds for a chunk on a board that nobody has measured, from the work and the hardware.

Every operation takes as long as its arithmetic or as what it moves, whichever is longer. Arithmetic
never reaches what the processor could do; how far it gets is a range, and so is the memory. The
spans are wide on purpose: they are to hold, not to impress.
"""

from collections.abc import Sequence
from typing import Literal

from edge_probe.budget.operations import Arithmetic, Operation
from edge_probe.disk.plan import Span
from firmware_tools.profile import DeviceProfile

End = Literal["best", "worst"]

_REACHED: dict[Arithmetic, Span] = {
    "float": Span(0.15, 0.6),
    "integer": Span(0.15, 0.6),
    "depthwise": Span(0.02, 0.3),
}
"""Of the most that a core could do. A Zero 2 W is expected to do 3 to 4 GFLOP/s of 8 (shared
reference, encoders.md 3.3: 0.38 to 0.5); small and depthwise layers do far worse."""

_PARALLEL = Span(0.5, 0.95)
"""What another core adds to the arithmetic of the first."""

_MEMORY_GAIN = Span(1.0, 2.0)
"""What all cores together move against one."""


def encoder_s(operations: Sequence[Operation], profile: DeviceProfile, n_cores: int) -> Span:
    """Of the encoder, for a chunk.

    Parameters
    ----------
    operations : sequence of Operation
    profile : DeviceProfile
    n_cores : int
    """
    best = sum(_operation_s(one, profile, n_cores, "best") for one in operations)
    worst = sum(_operation_s(one, profile, n_cores, "worst") for one in operations)
    return Span(best, worst)


def _operation_s(operation: Operation, profile: DeviceProfile, n_cores: int, end: End) -> float:
    at = 1 if end == "best" else 0
    peak = profile.integer_macs if operation.arithmetic == "integer" else profile.float_macs
    rate = peak[at] * profile.clock_ghz[at] * 1e9 * _REACHED[operation.arithmetic][at]
    moved = profile.memory_gb_s[at] * 1e9
    if n_cores > 1:
        rate *= 1 + (n_cores - 1) * _PARALLEL[at]
        moved *= _MEMORY_GAIN[at]
    return max(operation.n_macs / rate, operation.moved_bytes / moved)


def head_s(n_macs: int, bits: int | None, profile: DeviceProfile) -> Span:
    """Of matching the prototypes: from the kernels in C to NumPy without them.

    Parameters
    ----------
    n_macs : int
        M T D.
    bits : int or None
        Of a token component; None: floats, which no kernel in C matches.
    profile : DeviceProfile
    """
    reached, clock = _REACHED["float"], profile.clock_ghz
    in_numpy = [n_macs / (profile.float_macs[at] * clock[at] * 1e9 * reached[at]) for at in (1, 0)]
    if bits is None:
        return Span(*in_numpy)
    in_c = n_macs * bits / (profile.bit_macs.high * clock.high * 1e9)
    return Span(min(in_c, in_numpy[0]), in_numpy[1])
