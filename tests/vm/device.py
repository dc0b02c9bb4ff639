"""What is asked of the device again and again while it runs in the machine."""

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vm.agent import Agent, AgentError

RECORDER, CLASSIFIER = "edge-probe-recorder.service", "edge-probe-classifier.service"
STATE = "/var/lib/edge-probe"
USER = "edge-probe"

PATIENCE_S = 2400.0
"""An emulator on a busy host is slow, and the classifier may hang for five minutes of its own."""

IDLE_S = 20.0

Answer = TypeVar("Answer")

LOOK = (Path(__file__).parent / "guest" / "look.py").read_bytes()


def shown(agent: Agent, unit: str, *names: str) -> dict[str, str]:
    """Properties of a unit."""
    text = agent.text(["systemctl", "show", unit, *(f"--property={name}" for name in names)])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def uptime_s(agent: Agent) -> float:
    """CLOCK_MONOTONIC of the machine."""
    return float(agent.text(["python3", "-c", "import time; print(time.monotonic())"]))


def look(agent: Agent) -> dict[str, Any]:
    """What the recorder acknowledged by now, see `guest/look.py`."""
    done = agent.run(["runuser", "-u", USER, "--", "python3", "-", STATE], data=LOOK, timeout_s=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def n_recorded(said: dict[str, Any]) -> int:
    """Frames in closed and growing segments."""
    sizes = said["growing"]
    return sum(
        n_frames if n_frames is not None else sizes.get(name, 0) // 2
        for _, _, n_frames, name in said["segments"]
    )


def n_chunks(said: dict[str, Any], state: str = "done") -> int:
    """Chunks that the classifier acknowledged."""
    return int(dict(said["chunks"]).get(state, 0))


def wait_for(
    what: str,
    ask: Callable[[], Answer | None],
    *,
    timeout_s: float = PATIENCE_S,
    every_s: float = 10.0,
) -> Answer:
    """The first answer that is not empty; seconds are those of the clock on the wall.

    Asking costs the machine time that those have not who are asked about.

    Raises
    ------
    AgentError
        There is none in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise AgentError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(every_s)
    return answer


def wait_active(agent: Agent, unit: str) -> None:
    """Until a unit has said READY."""
    wait_for(
        f"{unit} to be active",
        lambda: shown(agent, unit, "ActiveState")["ActiveState"] == "active",
    )


def wait_classified(agent: Agent) -> None:
    """Until the classifier has nothing more to do: no chunk in so many seconds of its own."""
    before, since_s = -1, 0.0

    def is_idle() -> bool:
        nonlocal before, since_s
        said = look(agent)
        if (now := n_chunks(said)) != before:
            before, since_s = now, said["monotonic_s"]
        return bool(said["monotonic_s"] - since_s > IDLE_S)

    wait_for("the classifier to be done", is_idle)


def copy_state(agent: Agent, target: Path) -> None:
    """Copy the state folder out of the machine; recorder and classifier are stopped."""
    packed = agent.run(
        ["tar", "-c", "-C", STATE, "--exclude=./slots", "--exclude=./lost+found", "."],
        timeout_s=900,
    )
    target.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(target, filter="data")


def stop(agent: Agent) -> None:
    """Stop both in order; what waits to be classified goes on waiting."""
    agent.run(["systemctl", "stop", RECORDER, CLASSIFIER], timeout_s=300)


def errors_of_ours(agent: Agent) -> list[str]:
    """Lines of the journal of this boot, of our units, that are warnings or worse."""
    text = agent.text(
        "journalctl -b -q -o short-monotonic -p warning -u 'edge-probe-*'", timeout_s=120
    )
    return text.splitlines()
