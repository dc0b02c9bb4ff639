"""Any series of installations, results and deaths in the middle of them, held against a model."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.dying import dies
from support.slot_deed import (
    AFTER,
    DEEDS,
    NoUnits,
    begin,
    check,
    copy,
    do,
    pack_all,
    releases_of,
    unproven,
)
from support.slotted_device import Device, packed

from edge_probe.bundle.trust import read_store
from edge_probe.errors import EdgeProbeError

RELEASES = range(1, 7)
MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Model:
    """Releases."""

    good: int | None = None
    previous: int | None = None
    trial: int | None = None
    refused: frozenset[int] = frozenset()
    least: int = 1
    """The ratchet: nothing lower is accepted."""

    @property
    def three(self) -> tuple[int | None, int | None, int | None]:
        return self.good, self.previous, self.trial

    def settled(self) -> "Model":
        """With the ratchet as far as it goes."""
        kept = [one for one in self.three if one is not None]
        return replace(self, least=max(self.least, min(kept))) if self.good else self

    def install(self, release: int) -> "Model":
        if release < self.least:
            return self
        if self.ends(release):
            return replace(self, trial=None).settled()
        if release in (self.good, self.trial) or release in self.refused:
            return self
        return replace(self, previous=None, trial=release)

    def ends(self, release: int) -> bool:
        """Whether that ends a trial: what is good was asked for."""
        return self.trial is not None and release == self.good != self.trial

    def end(self, result: str) -> "Model":
        if self.trial is None:
            return self
        without = replace(self, trial=None)
        if result == "confirmed":
            without = replace(without, good=self.trial, previous=self.good)
        if result == "refused":
            without = replace(without, refused=self.refused | {self.trial})
        return without.settled()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: what is tested is not this machine's disk."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("what", DEEDS)
def test_killed_before_every_change(what: str, memory: Path) -> None:
    epbs = memory / "epbs"
    epbs.mkdir()
    pack_all(epbs)
    device = begin(what, memory / "before", epbs)
    n = 1
    while True:
        struck = copy(device, memory / str(n))
        if not dies(lambda one=struck: do(what, one, epbs), n):  # type: ignore[misc]
            break
        if n % 3 == 0:  # and again, while order is brought
            twice = copy(struck, memory / f"{n} twice")
            dies(twice.settle, 1 + n // 3 % 6)
            check(what, twice, epbs)
        check(what, struck, epbs)
        n += 1
    assert n > (5 if what in ("confirm", "refuse") else 30)
    assert releases_of(struck) == AFTER[what]


class Slots(RuleBasedStateMachine):
    """A device, and what should have become of it."""

    epbs: Path

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.device = Device(Path(self._folder.name), NoUnits())
        self.device.settle()
        self.model = Model()

    def teardown(self) -> None:
        self._folder.cleanup()

    def _install(self, release: int) -> object:
        return self.device.install(self.epbs / f"tiny-{release}.epb", prove=unproven)

    def _try_to_install(self, release: int) -> None:
        with suppress(EdgeProbeError):
            self._install(release)

    @rule(release=st.sampled_from(RELEASES))
    def install(self, release: int) -> None:
        self.model = self.model.settled()
        refused = release < self.model.least or (
            release in self.model.refused and release not in (self.model.good, self.model.trial)
        )
        if refused:
            with pytest.raises(EdgeProbeError):
                self._install(release)
        else:
            self._install(release)
        self.model = self.model.install(release)

    @precondition(lambda self: self.model.trial)
    @rule(result=st.sampled_from(["confirmed", "refused", "unproven"]))
    def end(self, result: str) -> None:
        self.device.end(result)
        self.model = self.model.settled().end(result)

    @rule(release=st.sampled_from(RELEASES), at=st.integers(1, 40))
    def die_while_installing(self, release: int, at: int) -> None:
        before = self.model.settled()
        died = dies(lambda: self._try_to_install(release), at)
        withdrawn = replace(before, trial=None) if before.good else before
        self._become(died, before, before.install(release), withdrawn,
                     replace(before, previous=None), replace(withdrawn, previous=None))  # fmt: skip

    @precondition(lambda self: self.model.trial)
    @rule(result=st.sampled_from(["confirmed", "refused"]), at=st.integers(1, 40))
    def die_at_the_end(self, result: str, at: int) -> None:
        before = self.model.settled()
        died = dies(lambda: self.device.end(result), at)
        self._become(died, before, before.end(result))

    def _become(self, died: bool, before: Model, after: Model, *between: Model) -> None:
        """One of these, before and after order is brought."""
        possible = [before, after, *between] if died else [after]
        runs = {model.trial or model.good for model in possible}
        assert self.device.runs in runs
        self.device.settle()
        found = [model.settled() for model in possible]
        three = releases_of(self.device)
        (self.model, *_) = [model for model in found if model.three == three]
        refused = {one.release for one in self.device.record.refused}
        assert refused in (before.refused, after.refused)
        self.model = replace(self.model, refused=frozenset(refused))

    @invariant()
    def as_it_should_be(self) -> None:
        assert releases_of(self.device) == self.model.three
        assert self.device.runs == (self.model.trial or self.model.good)
        least = read_store(self.device.layout.trust)[0].min_release
        assert least in (self.model.least, self.model.settled().least)


def test_any_series_of_events(tmp_path: Path) -> None:
    for release in RELEASES:
        packed(tmp_path, release)
    Slots.epbs = tmp_path
    Slots.TestCase.settings = settings(
        max_examples=8, stateful_step_count=10, deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    Slots.TestCase().runTest()
