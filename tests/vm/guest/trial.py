"""``edge-firmware trial`` for an emulator, where a second is none.

Memory, crashes and what is recorded and classified are judged as they are on a board; time is not,
and half a minute of work counts for ten minutes.
"""

import sys
from dataclasses import replace
from pathlib import Path

from firmware_tools.layout import Layout
from firmware_tools.slots import check
from firmware_tools.slots.service import Service
from firmware_tools.slots.trial import Rules, Tryout


def measure(bundle: Path, trust: Path, rate_hz: int) -> check.Measured:
    """What the bundle takes, its time apart."""
    return replace(check.measure(bundle, trust, rate_hz), p95_s=0.0)


outcome = Tryout(Layout(), Service(), Rules(good_s=30.0), measure=measure).run()
print(outcome)
sys.exit(0 if outcome is None or outcome.result == "confirmed" else 1)
