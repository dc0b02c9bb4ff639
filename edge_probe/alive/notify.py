"""What systemd is told: READY, STATUS, WATCHDOG, STOPPING.

Source: sd_notify(3) and sd_watchdog_enabled(3): one datagram per message to the AF_UNIX socket
that NOTIFY_SOCKET names; a leading ``@`` stands for the abstract namespace.
"""

import logging
import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from edge_probe.clock import Clock

_log = logging.getLogger(__name__)

_PINGS_PER_TIMEOUT = 3


class Notifier:
    """Tells systemd that a process gets on with its work; without systemd it does nothing.

    It never waits and has no thread of its own: when the loop that calls it hangs, or when samples
    cease, so do the pings, and systemd starts the service anew.

    Parameters
    ----------
    environ : mapping
        Of the process: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``.
    clock : Clock
    """

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._ping_every_ns = _watchdog_usec(environ) * 1000 // _PINGS_PER_TIMEOUT
        self._next_ping_ns = 0
        self._n_settled = 0
        self._is_ready = False
        self._status = ""
        self._is_deaf = False
        self._socket: socket.socket | None = None
        name = environ.get("NOTIFY_SOCKET", "")
        if name.startswith(("/", "@")):
            self._address = f"\0{name[1:]}" if name.startswith("@") else name
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)  # close-on-exec
            self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def progress(self, n_settled: int) -> None:
        """Report how far recording is; to be called several times per watchdog timeout.

        For a recorder, in place of `ready` and `feed`: the first settled frame makes the service
        ready; afterwards the watchdog is fed when frames were added since the last call, and only
        then.

        Parameters
        ----------
        n_settled : int
            Frames that this process stored so far, or booked as lost for want of room, over all
            streams.
        """
        if n_settled <= self._n_settled:
            return
        self._n_settled = n_settled
        self.ready()
        self.feed()

    def ready(self) -> None:
        """The service does what it is for from now on; said once, however often it is called."""
        if not self._is_ready:
            self._is_ready = self._send("READY=1")

    def feed(self) -> None:
        """A sign of life; the watchdog gets three of them in its time, however many come."""
        now_ns = self._clock.monotonic_ns()
        if self._ping_every_ns and now_ns >= self._next_ping_ns and self._send("WATCHDOG=1"):
            self._next_ping_ns = now_ns + self._ping_every_ns

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; the same line again is not sent."""
        line = " ".join(text.split())
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def stopping(self) -> None:
        """The service ends in order."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        """Whether it is done; what cannot be sent now is sent again by whoever asks again."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._is_deaf:
                _log.warning("systemd does not take %s: %s", message, error)
            self._is_deaf = True
            return False
        self._is_deaf = False
        return True


def _watchdog_usec(environ: Mapping[str, str]) -> int:
    """The timeout that systemd set for this very process; 0: none."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    text = environ.get("WATCHDOG_USEC", "0")
    if not text.isdecimal():
        _log.warning("WATCHDOG_USEC: expected a number, found %r; no watchdog", text)
        return 0
    return int(text)
