"""How far the system clock may be trusted."""

import ctypes
import sys

_TIME_ERROR = 5
"""Return value of adjtimex(2) while the kernel clock is not synchronised."""

_TIMEX_BYTES = 256
"""More than struct timex has on any Linux; only its first field, modes = 0, matters."""


def system_clock_trust() -> str:
    """Trust level of the system clock: "ntp" while the kernel calls it synchronised, or "unset".

    Source: adjtimex(2), return value ``TIME_ERROR``. Off Linux the answer is "unset".
    """
    if not sys.platform.startswith("linux"):
        return "unset"
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return "unset" if state in (-1, _TIME_ERROR) else "ntp"
