"""Ctrl-C and SIGTERM end the listening, never the work in hand."""

import signal
from collections.abc import Iterable, Iterator
from typing import TypeVar

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
