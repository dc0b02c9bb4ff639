"""What systemd is asked, and asked to do: the classifier's unit and that of the trial."""

import subprocess

from edge_probe.errors import EdgeProbeError

CLASSIFIER = "edge-probe-classifier.service"
TRIAL = "edge-probe-trial.service"

_TIMEOUT_S = 60
"""It only takes orders: nothing is waited for."""


class Service:
    """The units of this machine.

    Raises
    ------
    EdgeProbeError
        From any method: there is no systemd, or it refuses.
    """

    def require(self) -> None:
        """Refuse where there is none, before anything was done."""
        self.n_restarts()

    def restart_classifier(self) -> None:
        """Let it begin anew with what ``current`` leads to; without one it stays off."""
        _systemctl("restart", "--no-block", CLASSIFIER)

    def start_trial(self) -> None:
        """Let the unit of the trial go on with it, whoever logs out."""
        _systemctl("start", "--no-block", TRIAL)

    def n_restarts(self) -> int:
        """How often the classifier was started again by itself; a restart on order resets it."""
        text = _property("NRestarts")
        if not text.isdecimal():
            raise EdgeProbeError(
                f"systemctl: expected a number of restarts, found {text!r}",
                hint=f"is {CLASSIFIER} there? systemctl cat {CLASSIFIER}",
            )
        return int(text)

    def memory_limit_bytes(self) -> int | None:
        """Of the classifier's unit (MemoryMax); None: it has none."""
        text = _property("MemoryMax")
        return int(text) if text.isdecimal() else None


def _property(name: str) -> str:
    return _systemctl("show", "--value", "--property", name, CLASSIFIER).strip()


def _systemctl(*arguments: str) -> str:
    command = ["systemctl", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise EdgeProbeError(
            "systemctl: no such program", hint="slots are for devices that run systemd"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EdgeProbeError(
            f"{' '.join(command)}: no answer for {_TIMEOUT_S} s", hint="look at: systemctl status"
        ) from error
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise EdgeProbeError(f"{' '.join(command)}: {why}", hint="look at: systemctl status")
    return done.stdout
