"""A log that never makes a recorder wait: where nobody takes the lines, lines are lost, not audio.

A terminal that somebody stopped with Ctrl-S, a pipe whose reader hangs or a connection that is
gone without a word take no more bytes, and a plain write would last for ever.
"""

import logging
import select
import sys

LINE_CHARACTERS = 1000
"""Of a message; as UTF-8 less than the 4 KiB that a pipe takes if it takes anything (pipe(7))."""


class PatientHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes a message where it can be taken at once; of others it tells how many there were."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._n_lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message, or count it."""
        if not self._takes():
            self._n_lost += 1
            return
        if self._n_lost:
            n_lost, self._n_lost = self._n_lost, 0
            self.stream.write(f"WARNING: nobody took {n_lost} messages before this one\n")
            self.emit(record)
        else:
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        """The message, cut to what can be written at once."""
        return super().format(record)[:LINE_CHARACTERS]

    def _takes(self) -> bool:
        try:
            return bool(select.select([], [self.stream], [], 0)[1])
        except (OSError, ValueError):  # it is closed
            return False


def never_wait() -> None:
    """Let the log of this process go to stderr as long as that takes it."""
    root = logging.getLogger()
    patient = PatientHandler()
    patient.setFormatter(root.handlers[0].formatter if root.handlers else None)
    root.handlers = [patient]
