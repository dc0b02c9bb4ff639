"""Errors that are the user's to mend: one line that says what was found, one hint."""


class EdgeProbeError(Exception):
    """Something the user can put right; never a bug of ours.

    Parameters
    ----------
    message : str
        One line: what was expected and what was found.
    hint : str, optional
        What to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def first_line(error: Exception) -> str:
    """What somebody else's error says first, or its kind: enough for a message of one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class AudioError(EdgeProbeError):
    """Audio that cannot be read, or that cannot mean what it claims."""


class BundleError(EdgeProbeError):
    """A bundle that must not be loaded (every case is listed in ``bundle/FORMAT.md``)."""


class EncoderError(EdgeProbeError):
    """An encoder graph that does not keep what its bundle promises."""


class DeviceError(EdgeProbeError):
    """Audio hardware or its driver is missing or has no such device."""


class DeviceLostError(EdgeProbeError):
    """A microphone stopped delivering while it was in use."""

    exit_code = 3


class StateError(EdgeProbeError):
    """What a recorder keeps cannot be used as it is."""


class DeploymentError(EdgeProbeError):
    """A deployment file or species list that cannot mean what it says, or lacks what is needed."""
