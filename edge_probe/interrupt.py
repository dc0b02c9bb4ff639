"""Ctrl-C and SIGTERM end the listening, never the work in hand."""

import signal
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")


class _StopWaiting(BaseException):
    """Raised by the signal handler while nothing but a wait can be cut short."""


def until_interrupted(items: Iterable[Item]) -> Iterator[Item]:
    """Give out items until they end or somebody presses Ctrl-C or sends SIGTERM.

    A signal during the wait for the next item ends the wait at once; one during the work on an
    item lets that work finish. Afterwards both signals mean again what they meant before. To be
    used in the main thread.
    """
    waiting = stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True
        if waiting:
            raise _StopWaiting

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    source, end = iter(items), object()
    try:
        while not stopped:
            waiting = True
            item = next(source, end)
            waiting = False
            if item is end:
                return
            yield item  # type: ignore[misc]
    except _StopWaiting:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted:
    """Whether Ctrl-C, SIGTERM or the end of the terminal came, asked by a loop that looks often.

    Within the context these signals do nothing else. Who started us with ``nohup`` wants no end
    with the terminal. To be used in the main thread.
    """

    def __init__(self) -> None:
        self._stopped = False

    def __enter__(self) -> Self:
        def stop(_number: int, _frame: object) -> None:
            self._stopped = True

        numbers = [signal.SIGINT, signal.SIGTERM]
        hangup = getattr(signal, "SIGHUP", None)  # POSIX only
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
            numbers.append(hangup)
        self._before = {number: signal.signal(number, stop) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self._stopped
