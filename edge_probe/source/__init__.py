"""Where samples come from: audio files, raw PCM on a pipe, a microphone.

Every source is an iterable of `Block`: samples of one chosen channel, and how many are missing
before them. A channel is chosen, never averaged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import AudioError


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive samples of one channel."""

    samples: NDArray[np.float32]
    """(n,) full scale ±1."""
    n_missing: int = 0
    """Samples lost just before these; more than 0 ends the run."""


def choose_channel(n_channels: int, wanted: int | None, name: str) -> int:
    """The channel to listen to, counted from 0.

    Raises
    ------
    AudioError
        There are several and none was chosen, or there is no such channel.
    """
    if wanted is None and n_channels == 1:
        return 0
    last = n_channels - 1
    if wanted is None:
        raise AudioError(
            f"{name}: {n_channels} channels and none was chosen",
            hint=f"choose one with --channel 0 ... --channel {last}; channels are never averaged",
        )
    if not 0 <= wanted <= last:
        raise AudioError(
            f"{name}: expected a channel from 0 to {last}, found {wanted}",
            hint="channels are counted from 0",
        )
    return wanted


def refuse_not_finite(samples: NDArray[np.float32], first: int, rate_hz: int, name: str) -> None:
    """Refuse float samples that are no sound.

    Parameters
    ----------
    samples : (n,) float32
    first : int
        Index of ``samples[0]`` in its source.
    rate_hz : int
    name : str
        The source, for the message.

    Raises
    ------
    AudioError
        A sample is NaN or infinite.
    """
    finite = np.isfinite(samples)
    if not finite.all():
        at = first + int(np.argmin(finite))
        raise AudioError(
            f"{name}: sample {at} ({at / rate_hz:.3f} s) is NaN or infinite",
            hint="export the audio again as 16- or 24-bit PCM",
        )
