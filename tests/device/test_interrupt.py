"""What ends a recorder in order."""

import os
import signal

import pytest

from edge_probe.interrupt import Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_does_nothing_else(number: int) -> None:
    outside = signal.signal(number, signal.SIG_DFL)  # nohup has these tests ignore one of them
    try:
        with Interrupted() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), number)
            assert interrupted()
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_who_outlives_the_terminal_on_purpose_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupted() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted()
    finally:
        signal.signal(signal.SIGHUP, before)
