"""Where samples come from: audio files, raw PCM on a pipe, a microphone.

Files and pipes are iterables of blocks, (n,) float32 at full scale ±1, of one chosen channel; a
channel is chosen, never averaged. A microphone gives frames of all its channels, and says how many
are missing before them. Nothing depends on where blocks end.
"""

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import AudioError


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


def finite_part(
    samples: NDArray[np.float32], first: int, rate_hz: int, name: str
) -> tuple[NDArray[np.float32], AudioError | None]:
    """The samples before the first one that is no sound, and what to say about that one.

    Parameters
    ----------
    samples : (n,) float32
    first : int
        Index of ``samples[0]`` in its source.
    rate_hz : int
    name : str
        The source, for the message.

    Returns
    -------
    samples : (m,) float32
        Finite.
    problem : AudioError or None
        None if all of them are finite.
    """
    finite = np.isfinite(samples)
    if finite.all():
        return samples, None
    n_finite = int(np.argmin(finite))
    at = first + n_finite
    return samples[:n_finite], AudioError(
        f"{name}: sample {at} ({at / rate_hz:.3f} s) is NaN or infinite",
        hint="export the audio again as 16- or 24-bit PCM",
    )
