"""What systemd hears, on a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.numbered_source import VirtualClock

from edge_probe.alive.notify import Notifier

TIMEOUT_S = 30


class FakeSystemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@edge-probe-{os.getpid()}"


@pytest.fixture
def systemd(name: str) -> Iterator[FakeSystemd]:
    fake = FakeSystemd(f"\0{name[1:]}" if name.startswith("@") else name)
    yield fake
    fake.socket.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def notifier(name: str, clock: VirtualClock, systemd: FakeSystemd) -> Iterator[Notifier]:
    environ = {
        "NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(TIMEOUT_S * 10**6),
        "WATCHDOG_PID": str(os.getpid()),
    }  # fmt: skip
    with Notifier(environ, clock) as made:
        yield made


def test_ready_is_said_once_when_the_first_frame_is_stored(
    notifier: Notifier, systemd: FakeSystemd
) -> None:
    notifier.progress(0)
    assert systemd.heard() == []
    notifier.progress(100)
    assert systemd.heard() == ["READY=1", "WATCHDOG=1"]
    notifier.progress(200)
    assert systemd.heard() == []


def test_the_watchdog_is_fed_while_frames_are_stored_and_not_after(
    notifier: Notifier, systemd: FakeSystemd, clock: VirtualClock
) -> None:
    n_pings = n_stored = 0
    for second in range(90):
        n_stored += 1000
        notifier.progress(n_stored)
        n_pings += systemd.heard().count("WATCHDOG=1")
        clock.now_ns += 10**9
        assert n_pings == second // (TIMEOUT_S // 3) + 1
    for _ in range(90):  # the loop goes on, samples do not
        notifier.progress(n_stored)
        clock.now_ns += 10**9
    assert systemd.heard() == []
    notifier.progress(n_stored + 1)
    assert systemd.heard() == ["WATCHDOG=1"]


def test_who_has_no_frames_is_ready_once_and_gives_signs_of_life(
    notifier: Notifier, systemd: FakeSystemd, clock: VirtualClock
) -> None:
    notifier.ready()
    notifier.ready()
    assert systemd.heard() == ["READY=1"]
    for _ in range(10 * TIMEOUT_S):
        notifier.feed()
        clock.now_ns += 10**8
    assert systemd.heard() == ["WATCHDOG=1"] * 3


def test_status_is_one_line_and_told_when_it_changes(
    notifier: Notifier, systemd: FakeSystemd
) -> None:
    notifier.status("recording\n12 h")
    notifier.status("recording\n12 h")
    notifier.status("no microphone")
    notifier.stopping()
    assert systemd.heard() == ["STATUS=recording 12 h", "STATUS=no microphone", "STOPPING=1"]


def test_a_systemd_that_does_not_listen_blocks_nobody_and_misses_nothing_that_counts(
    notifier: Notifier, systemd: FakeSystemd, clock: VirtualClock
) -> None:
    while not notifier._is_deaf:  # until its queue is full
        notifier.status(f"{clock.now_ns}")
        clock.now_ns += 1
    notifier.progress(1)
    assert "READY=1" not in systemd.heard()
    notifier.progress(2)
    assert systemd.heard() == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize(
    "environ", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}]
)
def test_without_a_watchdog_of_ours_there_are_no_pings(
    name: str, systemd: FakeSystemd, clock: VirtualClock, environ: dict[str, str]
) -> None:
    usual = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000"}
    with Notifier(usual | environ, clock) as notifier:
        notifier.progress(1)
    assert systemd.heard() == ["READY=1"]


def test_without_systemd_nothing_happens(clock: VirtualClock) -> None:
    with Notifier({}, clock) as notifier:
        notifier.progress(1)
        notifier.status("recording")
        notifier.stopping()
