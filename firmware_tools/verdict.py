"""Whether a bundle can live on a board: what an estimate allows to say, and no more."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_probe.budget.figure import Figure, Sheet
from firmware_tools.profile import DeviceProfile

CAREFUL = 0.8
"""Of real time: what is above has no reserve for heat, FLAC and a busy hour."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a sheet."""

    refusals: Sequence[str]
    """Why it cannot work, whatever the spans leave open."""
    warnings: Sequence[str]
    """Why it may not."""

    @property
    def fits(self) -> bool:
        """Nothing speaks against a trial on the board."""
        return not self.refusals


def judge(sheet: Sheet, profile: DeviceProfile) -> Verdict:
    """Compare the figures with the board.

    Parameters
    ----------
    sheet : Sheet
        An estimate for that profile.
    profile : DeviceProfile
    """
    refusals: list[str] = []
    warnings: list[str] = []
    for one in (_memory(sheet, profile), _card(sheet, profile), _time(sheet)):
        refusals += one.refusals
        warnings += one.warnings
    return Verdict(refusals, warnings)


def _memory(sheet: Sheet, profile: DeviceProfile) -> Verdict:
    """Anonymous memory has nowhere to go; files can be read again, at the price of thrashing."""
    system, ours = sheet.figures["memory_system"], sheet.figures["memory_ours"]
    files, ram = sheet.figures["memory_files"], profile.ram_mib
    anonymous_low = system.low + ours.low - files.low
    if anonymous_low > ram:
        return _refused(
            f"memory: cannot fit: at least {anonymous_low:.0f} MiB that cannot be dropped, of {ram}"
        )
    if (excess := system.low + ours.low - ram) > 0:
        return _warned(
            f"memory: would thrash: {excess:.0f} MiB of code and weights too many; they are read"
            " from the card again, at worst for every chunk"
        )
    if system.high + ours.high > ram:
        return _warned(f"memory: may be short: up to {system.high + ours.high:.0f} MiB of {ram}")
    return Verdict([], [])


def _card(sheet: Sheet, profile: DeviceProfile) -> Verdict:
    flash_gb = sum(sheet.figures[name].low for name in ("flash_runtime", "flash_bundle"))
    flash_gb *= 2**20 / 1e9
    needed_gb = profile.system_gb.low + flash_gb
    if needed_gb > profile.card_gb:
        return _refused(f"card: cannot fit: at least {needed_gb:.1f} GB of {profile.card_gb:g}")
    if sheet.figures["card_full_after"].low < 1:
        return _warned("card: may be full within a day: take a larger one, or record less")
    return Verdict([], [])


def _time(sheet: Sheet) -> Verdict:
    factor: Figure = sheet.figures["real_time_factor"]
    if factor.low > 1:
        return _refused(f"time: slower than real time: at least {factor.low:.2g} times")
    if factor.high > CAREFUL:
        return _warned(
            f"time: {factor.low:.2g} to {factor.high:.2g} of real time, {CAREFUL:g} is the limit:"
            " only a measurement on the board decides"
        )
    return Verdict([], [])


def _refused(why: str) -> Verdict:
    return Verdict([why], [])


def _warned(why: str) -> Verdict:
    return Verdict([], [why])
