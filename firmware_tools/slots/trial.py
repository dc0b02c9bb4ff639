"""A bundle proves itself at work, or what was good before comes back."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep

from edge_probe.bundle.signature import Verifier, verify_in_child
from edge_probe.clock import Clock, SystemClock
from firmware_tools.layout import Layout
from firmware_tools.slots import check, evidence
from firmware_tools.slots.folder import SlotFolder
from firmware_tools.slots.install import Prove, refuse
from firmware_tools.slots.record import Kept, Outcome, Record, Trial
from firmware_tools.slots.service import Service
from firmware_tools.slots.settle import device_keys, opens, settle
from firmware_tools.slots.spare import install_newest
from firmware_tools.verdict import CAREFUL

_log = logging.getLogger(__name__)

_PATIENCE_S = 1800.0
"""For an installation: the copy from a slow stick, and the selftest."""

Measure = Callable[[Path, Path, int], check.Measured]
"""(bundle, trust store, rate in Hz); raises `check.FailedError`."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When enough was seen."""

    good_s: float = 600.0
    """Seconds that must be recorded, and seconds of audio that must be classified, meanwhile."""
    look_s: float = 10.0
    """Between two looks."""
    max_crashes: int = 3
    """Of the classifier; the third may be the machine's."""
    max_boots: int = 3
    """Boots of the machine that may end before the trial does."""
    late_s: float = 7200.0
    """Recorded beyond ``good_s``: the longest segment, an hour, was classified by then."""
    give_up_s: float = 86_400.0
    """Without a result, be it for want of a microphone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Since somebody watches."""

    watched_s: float
    recorded_s: float
    classified_s: float
    n_crashes: int
    n_quarantined: int


def judge(seen: Seen, rules: Rules) -> tuple[str, str] | None:
    """Result and reason; None: not yet."""
    work = f"recorded {seen.recorded_s:.0f} s, classified {seen.classified_s:.0f} s"
    if seen.n_crashes > rules.max_crashes:
        return "refused", f"the classifier had to be started again {seen.n_crashes} times"
    if seen.n_quarantined:
        return "refused", "some audio killed the classifier again and again"
    if min(seen.recorded_s, seen.classified_s) >= rules.good_s:
        return "confirmed", work
    if seen.recorded_s >= rules.good_s + rules.late_s:
        return "refused", f"it does not keep up: {work}"
    if seen.watched_s >= rules.give_up_s:
        return "unproven", f"{work} within {seen.watched_s / 3600:.0f} h"
    return None


def conclude(record: Record, result: str, reason: str) -> Record:
    """The record after the trial that it has.

    Parameters
    ----------
    record : Record
    result : str
        One of `record.RESULTS`.
    reason : str
    """
    assert record.trial is not None  # noqa: S101
    kept = record.trial.kept
    record = replace(record, trial=None)
    if result == "refused":
        return refuse(record, kept, reason)
    outcome = Outcome.of(kept, result, reason)
    if result == "confirmed":
        record = replace(record, good=kept, previous=record.good)
    return replace(record, last=outcome)


class Tryout:
    """Goes on with the trial until it has a result; brings order in any case.

    It may be killed at any moment: the next one goes on.

    Parameters
    ----------
    layout : Layout
    service : Service
    rules : Rules, optional
    spares : callable
        Looks for files with bundles on this device; asked if the card damaged the one in the slots.
    measure, prove, verify : callable
    clock : Clock, optional
    """

    def __init__(
        self,
        layout: Layout,
        service: Service,
        rules: Rules | None = None,
        *,
        spares: Callable[[], Sequence[Path]] = tuple,
        measure: Measure = check.measure,
        prove: Prove = check.selftest,
        verify: Verifier = verify_in_child,
        clock: Clock | None = None,
    ) -> None:
        self._layout = layout
        self._service = service
        self._rules = rules or Rules()
        self._spares = spares
        self._measure, self._prove = measure, prove
        self._verify = verify
        self._clock = clock or SystemClock()
        self._folder = SlotFolder(layout.slots)

    def run(self) -> Outcome | None:
        """Try what is on trial, and whatever is installed meanwhile.

        Returns
        -------
        Outcome or None
            None: nothing is on trial.

        Raises
        ------
        StateError
            Somebody else is at it, or the slots are not ours.
        EdgeProbeError
            There is no trust store, or systemd does not answer.
        OSError
            The disk fails.
        """
        if not self._layout.slots.exists():
            return None
        self._folder.check()
        with self._folder.watch():
            self._replace_damaged()
            while trial := self._begin():
                if outcome := self.end(trial, *self._result(trial)):
                    return outcome
        return None

    def _replace_damaged(self) -> None:
        """Where the good bundle does not open, and none was before, take one that lies here."""
        with self._folder.change(_PATIENCE_S):
            record, keys = self._settled(), device_keys(self._layout)
            if (
                record.good is None
                or record.trial
                or opens(self._folder, keys, self._verify, record.good)
            ):
                return
        name = record.good.bundle
        for path, done in install_newest(
            self._spares(), self._layout, self._service, prove=self._prove, verify=self._verify
        ):
            if isinstance(done, Exception):
                _log.error("%s: %s", path, done)
            else:
                _log.error("%s: is damaged: %s of %s takes its place", name, done.bundle, path)
                return
        _log.error(
            "%s: is damaged, and no good bundle lies on this device: nothing is classified until"
            " one comes by a stick or edge-firmware install", name,
        )  # fmt: skip

    def end(self, trial: Trial, result: str, reason: str) -> Outcome | None:
        """Confirm or revert; None: another bundle is on trial by now.

        Parameters
        ----------
        trial : Trial
        result : str
            One of `record.RESULTS`.
        reason : str

        Raises
        ------
        StateError, EdgeProbeError, OSError
            As for `run`.
        """
        with self._folder.change(_PATIENCE_S):
            record = self._settled()
            if record.trial is None or record.trial.kept != trial.kept:
                return None
            record = conclude(record, result, reason)
            self._folder.write(record)
            self._settled()
        return record.last

    def _begin(self) -> Trial | None:
        """Note that this boot tries it, too."""
        with self._folder.change(_PATIENCE_S):
            record, boot = self._settled(), self._clock.boot()
            if record.trial and boot not in record.trial.boots:
                trial = replace(record.trial, boots=(*record.trial.boots, boot))
                record = replace(record, trial=trial)
                self._folder.write(record)
        return record.trial

    def _settled(self) -> Record:
        keys = device_keys(self._layout)
        return settle(self._layout, self._folder, keys, self._service, self._verify)

    def _result(self, trial: Trial) -> tuple[str, str]:
        """And the reason."""
        if len(trial.boots) > self._rules.max_boots:
            return "refused", f"{self._rules.max_boots} boots went by without a result"
        try:
            self._examine(trial.kept)
            return self._watch(trial.kept)
        except check.FailedError as error:
            return "refused", error.reason

    def _examine(self, kept: Kept) -> None:
        """Time and memory, beside the recorder at work."""
        state = self._layout.state
        path = self._layout.slots / kept.slot
        found = self._measure(path, self._layout.trust, evidence.rate_hz(state))
        limit_bytes = self._service.memory_limit_bytes()
        if limit_bytes is not None and found.anonymous_bytes > limit_bytes:
            raise check.FailedError(
                f"it takes {found.anonymous_bytes / 2**20:.0f} MiB of memory,"
                f" allowed are {limit_bytes / 2**20:.0f}"
            )
        factor = found.p95_s / found.chunk_s
        if factor > CAREFUL:
            raise check.FailedError(
                f"it takes {found.p95_s:.2f} s (95th percentile) for {found.chunk_s:g} s of"
                f" audio: {factor:.2f} of real time, allowed are {CAREFUL:g}"
            )
        _log.info("%s: %.2f of real time", kept.bundle, factor)

    def _watch(self, kept: Kept) -> tuple[str, str]:
        """Look until there is a result."""
        state, rules, began_ns = self._layout.state, self._rules, self._clock.monotonic_ns()
        recorded, crashes = _Growth(), _Growth()
        before_s = evidence.heard(state, kept.sha256).classified_s
        while self._is_on_trial(kept):
            recorded.see(evidence.recorded_s(state, self._clock))
            crashes.see(self._service.n_restarts())
            heard = evidence.heard(state, kept.sha256)
            seen = Seen(
                (self._clock.monotonic_ns() - began_ns) * 1e-9, recorded.total,
                max(0.0, heard.classified_s - before_s), round(crashes.total), heard.n_quarantined,
            )  # fmt: skip
            if found := judge(seen, rules):
                return found
            sleep(rules.look_s)
        return "unproven", "another bundle took its place"

    def _is_on_trial(self, kept: Kept) -> bool:
        record = self._folder.read()
        return bool(record and record.trial and record.trial.kept == kept)


class _Growth:
    """How much a count has grown since the first look; whoever counts may begin anew at 0."""

    def __init__(self) -> None:
        self.total = 0.0
        self._last: float | None = None

    def see(self, now: float | None) -> None:
        if now is None:
            return
        if self._last is not None:
            self.total += now - self._last if now >= self._last else now
        self._last = now
