"""What several tests of the device side need."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.virtual_microphone import VirtualMicrophone


@pytest.fixture
def plugged(tmp_path: Path) -> Iterator[Callable[[int], VirtualMicrophone]]:
    """Plugs in a virtual microphone of a sample rate; skips where that is not possible."""
    if lacking := VirtualMicrophone.missing():
        pytest.skip(lacking)
    servers: list[VirtualMicrophone] = []

    def plug(rate_hz: int) -> VirtualMicrophone:
        folder = tmp_path / "pulse"
        folder.mkdir()
        servers.append(VirtualMicrophone(folder, rate_hz))
        return servers[-1]

    yield plug
    for server in servers:
        server.close()
