"""All of health as one object for the recorder's main loop."""

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from edge_probe.capture.segment import Format
from edge_probe.clock import Clock
from edge_probe.errors import DeviceError
from edge_probe.health.board import Board
from edge_probe.health.identity import Device, refuse_other
from edge_probe.health.mixer import Mixer, check_opened, read_opened
from edge_probe.health.notes import Notes
from edge_probe.health.row import Alarm, Row
from edge_probe.health.signal import Signal

_log = logging.getLogger(__name__)

MINUTE_NS = 60 * 10**9
DEAD_S = 5.0
"""A microphone that gives one and the same value for so long is dead, or another one."""

REOPEN_S, MOST_REOPEN_S = 15.0, 600.0
"""A dead microphone is opened anew after so long, each time after twice as long, up to the second.
Each costs a gap of a second or so: an input that is silent by right loses seven of them and then
one in ten minutes. Only sound that lasts as long as the second makes it impatient again."""

CARD_NS = 10**9
"""Between two looks whether the card is still the one that was opened; one look alone may err."""

_MAX_WAITING = 5000
"""Rows kept while the disk fails: an hour and more."""


class Monitor:
    """Watches microphone, sound card and board; what it finds waits in `waiting`.

    Parameters
    ----------
    state : Path
        State folder; holds ``health.d``.
    clock : Clock
    mixer : Mixer
        With the gain that is to be set.
    root : Path
        Folder that holds ``proc`` and ``sys``.
    """

    def __init__(self, state: Path, clock: Clock, mixer: Mixer, *, root: Path = Path("/")) -> None:
        self._clock = clock
        self._mixer = mixer
        self._root = root
        self._board = Board(state, root=root)
        self._notes = Notes(state / "health.d", clock)
        self._signal: Signal | None = None
        self._device: Device | None = None  # open, and on a card
        self._was_open = False  # as its driver told
        self._suspicion: str | None = None
        self._rerouted: str | None = None
        self._card_ns = 0
        self._reopen_s = REOPEN_S
        self._due_ns = clock.monotonic_ns() + MINUTE_NS
        self._opening: Sequence[Alarm] = ()
        self._passing: Sequence[Alarm] = ()
        self._dead_told = False
        self.dead_since_ns: int | None = None
        """Monotonic time since when the samples of no channel have changed, over all openings; None
        while they do. As `step` saw it."""
        self.waiting: deque[Row] = deque(maxlen=_MAX_WAITING)
        """Rows for the ledger, which takes them with its next transaction."""

    @property
    def alarms(self) -> Sequence[Alarm]:
        """What is wrong now: since the device was opened, in the last minute, and dead or not."""
        return [*self._opening, *self._passing, *self._dead_alarm()]

    def opened(self, device: Device, format_: Format) -> None:
        """A device was opened: see that it is the right one, set and read what it does.

        Raises
        ------
        DeviceError
            It is another one than was chosen; close it.
        """
        refuse_other(device, self._root)
        self._signal = Signal(format_, self._clock)
        self._opening, self._passing = (), ()
        if device.card is None:
            _log.info("%s: no sound card of its own: gain, AGC and true rate are not known",
                      device.name)  # fmt: skip
            return
        now_ns = self._clock.monotonic_ns()
        rows, alarms = self._mixer.check(device, now_ns)
        more_rows, more_alarms = check_opened(device, format_, now_ns, self._root)
        self._device, self._was_open = device, bool(more_rows)
        self._opening = [*alarms, *more_alarms]
        for alarm in self._opening:
            _log.warning("%s; %s", alarm.text, alarm.hint)
        self._keep([*rows, *more_rows, *(alarm.row(now_ns) for alarm in self._opening)])

    def closed(self) -> None:
        """No device is open: nothing is expected of it."""
        if self._is_dead():
            self._reopen_s = min(MOST_REOPEN_S, 2 * self._reopen_s)
        self._signal = self._device = self._suspicion = self._rerouted = None
        self._opening, self._passing = (), ()

    def lost(self) -> str | None:
        """Why the device is to be closed and opened anew, or None."""
        if self._rerouted is None and self._is_dead(self._reopen_s):
            return f"every sample has had the same value for {self._reopen_s:g} s"
        return self._rerouted

    def feed(self, frames: bytes | memoryview) -> None:
        """Frames of the open device, in order; cheap enough for every block."""
        signal = self._signal  # another thread closes it
        if signal is not None:
            signal.feed(frames)

    def step(self) -> None:
        """Look whether the device lives, and is the one it was; once a minute, all there is."""
        now_ns = self._clock.monotonic_ns()
        self._look_for_life()
        if now_ns >= self._card_ns:
            self._card_ns = now_ns + CARD_NS
            before, self._suspicion = self._suspicion, self._look_at_card()
            self._rerouted = before and self._suspicion
        dead = self._dead_alarm()
        if dead and not self._dead_told:
            _log.warning("%s; %s", dead[0].text, dead[0].hint)
            self._keep([alarm.row(now_ns) for alarm in dead])
        self._dead_told = bool(dead)
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + MINUTE_NS
            self._keep(self._minute(now_ns))

    def _minute(self, now_ns: int) -> Sequence[Row]:
        rows, alarms = self._signal.minute(now_ns) if self._signal else ((), ())
        board_rows, board_alarms = self._board.look(now_ns)
        before = {alarm.name for alarm in self._passing}
        self._passing = [*alarms, *board_alarms]
        for alarm in self._passing:
            if alarm.name not in before:
                _log.warning("%s; %s", alarm.text, alarm.hint)
        told = [alarm.row(now_ns) for alarm in self.alarms]
        return [*rows, *board_rows, *self._notes.look(now_ns), *told]

    def _look_for_life(self) -> None:
        life = self._signal.life if self._signal else None
        if life is None:
            return  # what was dead may still be
        if not life.is_alive:
            self.dead_since_ns = self.dead_since_ns or life.since_ns
            return
        self.dead_since_ns = None
        if life.lasts_s >= MOST_REOPEN_S:
            self._reopen_s = REOPEN_S

    def _is_dead(self, for_s: float = REOPEN_S) -> bool:
        """Whether all that was heard since the device was opened says so, long enough."""
        life = self._signal.life if self._signal else None
        return life is not None and not life.is_alive and life.lasts_s >= for_s

    def _look_at_card(self) -> str | None:
        """Why the open device is not the one that was opened, or None."""
        device = self._device
        if device is None:
            return None
        try:
            refuse_other(device, self._root)
        except DeviceError as error:
            return error.message
        if self._was_open and read_opened(device, self._root) is None:
            return f"{device.identity}: its driver does not have it open any more"
        return None

    def _dead_alarm(self) -> Sequence[Alarm]:
        since_ns = self.dead_since_ns
        if since_ns is None or self._clock.monotonic_ns() - since_ns < DEAD_S * 1e9:
            return ()
        return [Alarm(
            "dead_microphone", f"for more than {DEAD_S:g} s every sample has had the same value",
            "the microphone is broken, muted, or the sound system gave another one",
        )]  # fmt: skip

    def _keep(self, rows: Sequence[Row]) -> None:
        if len(self.waiting) + len(rows) > _MAX_WAITING:
            _log.warning("%d health rows wait for the disk; the oldest are dropped", _MAX_WAITING)
        self.waiting.extend(rows)
