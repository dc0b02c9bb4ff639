"""A classifier that is a service of its own, as the recorder sees it: from outside. Linux only."""

from pathlib import Path

from edge_probe.analysis.supervise import ClassifierState
from edge_probe.lock import CLASSIFIER_LOCK, holder


class Neighbour:
    """In the place of a `Supervisor` where somebody else starts and ends the classifier.

    Parameters
    ----------
    folder : Path
        State folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def state(self) -> ClassifierState:
        """For the status: whether it lives is all that can be known.

        Raises
        ------
        OSError
            The disk fails.
        """
        lives = holder(self._folder, CLASSIFIER_LOCK) is not None
        return ClassifierState("running" if lives else "not running", None, None)

    def poll(self, now_ns: int) -> None:
        """Nothing to look after."""

    def terminate(self) -> None:
        """It is not ours to end."""

    def stop(self) -> None:
        """It is not ours to end."""
