"""All of health as one object for the recorder's main loop."""

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from edge_probe.capture.segment import Format
from edge_probe.clock import Clock
from edge_probe.health.board import Board
from edge_probe.health.identity import Device, refuse_other
from edge_probe.health.mixer import Mixer, check_opened
from edge_probe.health.notes import Notes
from edge_probe.health.row import Alarm, Row
from edge_probe.health.signal import Signal

_log = logging.getLogger(__name__)

MINUTE_NS = 60 * 10**9
DEAD_S = 5.0
"""A microphone that gives one and the same value for so long is dead, or another one."""

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
        self._due_ns = clock.monotonic_ns() + MINUTE_NS
        self._opening: Sequence[Alarm] = ()
        self._passing: Sequence[Alarm] = ()
        self._dead_told = False
        self.waiting: deque[Row] = deque(maxlen=_MAX_WAITING)
        """Rows for the ledger, which takes them with its next transaction."""

    @property
    def dead_since_ns(self) -> int | None:
        """Monotonic time since when the samples of no channel change; None while they do."""
        return self._signal.dead_since_ns if self._signal else None

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
        self._opening, self._passing, self._dead_told = (), (), False
        if device.card is None:
            _log.info("%s: no sound card of its own: gain, AGC and true rate are not known",
                      device.name)  # fmt: skip
            return
        now_ns = self._clock.monotonic_ns()
        rows, alarms = self._mixer.check(device, now_ns)
        more_rows, more_alarms = check_opened(device, format_, now_ns, self._root)
        self._opening = [*alarms, *more_alarms]
        for alarm in self._opening:
            _log.warning("%s; %s", alarm.text, alarm.hint)
        self._keep([*rows, *more_rows, *(alarm.row(now_ns) for alarm in self._opening)])

    def closed(self) -> None:
        """No device is open: nothing is expected of it."""
        self._signal, self._opening, self._passing = None, (), ()

    def feed(self, frames: bytes | memoryview) -> None:
        """Frames of the open device, in order; cheap enough for every block."""
        if self._signal:
            self._signal.feed(frames)

    def step(self) -> None:
        """Once a minute, put what is due into `waiting`; a dead microphone at once."""
        now_ns = self._clock.monotonic_ns()
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
