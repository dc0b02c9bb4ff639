"""Which axis of a map is time, which is frequency, and where its columns and rows lie.

Measured, for a graph does not say: a change in the sound (`stimuli`) is followed along every axis
of the map. The centre of what changes moves along the time axis with the time of the change, along
the frequency axis with its band, and along the axis of the components with neither.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import EncoderError
from export.encoders import stimuli

Profile = NDArray[np.float64]
"""(places, size): how much of a change at each place is found at each index of an axis."""

Maps = Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]]
"""A waveform (N,) through the graph: the maps under test, by name."""

TIME_FOLLOWS, BAND_FOLLOWS = 0.9, 0.8
"""Correlation of the centre with the place from which on an axis is taken for time or frequency.
Other axes of the encoders that were tried stay below 0.56, their own above 0.95 (time) and, where
rows can be told at all, 0.68 to 0.99 (frequency)."""

MIXED = 0.15
"""Spread of the columns' centres in frequency, as a share of the scale, from which on an axis holds
rows of frequency too: a flattened map of two rows has 0.25."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of a map, in its own order; sizes of 1 are no axes."""

    time: int
    dims: int
    freq: int | None
    """None where the map has one row."""
    descends: bool | None = None
    """Whether row 0 is the highest band; None where the rows of the map alone do not tell."""


@dataclass(frozen=True, slots=True)
class Followed:
    """How a map answers, along each of its axes that is longer than 1."""

    shape: tuple[int, ...]
    time: Mapping[int, Profile]
    band: Mapping[int, Profile]


Kind = Callable[[int, int, float, int], stimuli.Stimulus]
"""`stimuli.in_time` or `stimuli.in_bands`."""


def follow(
    maps: Maps, n_samples: int, sample_rate_hz: float, *, n_places: int = 24, n_repeats: int = 1
) -> dict[str, Followed]:
    """Change the sound at places in time and in bands, and see where maps change.

    Parameters
    ----------
    maps : callable
    n_samples : int
        Of a chunk.
    sample_rate_hz : float
    n_places : int
        In time and in frequency.
    n_repeats : int
        With other noise.
    """
    time = profiles(stimuli.in_time, maps, n_samples, sample_rate_hz, n_places, n_repeats)
    band = profiles(stimuli.in_bands, maps, n_samples, sample_rate_hz, n_places, n_repeats)
    return {name: Followed(shape, p, band[name][1]) for name, (shape, p) in time.items()}


def profiles(
    kind: Kind, maps: Maps, n_samples: int, sample_rate_hz: float, n_places: int, n_repeats: int
) -> dict[str, tuple[tuple[int, ...], dict[int, Profile]]]:
    """Shape of each map, and how much of each change is found along its axes longer than 1."""
    found: dict[str, tuple[tuple[int, ...], dict[int, Profile]]] = {}
    for seed in range(n_repeats):
        stimulus = kind(n_samples, n_places, sample_rate_hz, seed)
        plain = maps(stimulus.plain)
        for name, map_ in plain.items():
            found.setdefault(name, (map_.shape, _empty(map_.shape, n_places)))
        for place, changed in enumerate(map(maps, stimulus.changed)):
            for name, map_ in changed.items():
                energy = (map_ - plain[name]) ** 2
                for axis, profile in found[name][1].items():
                    others = tuple(other for other in range(energy.ndim) if other != axis)
                    profile[place] += energy.sum(axis=others)
    return found


def _empty(shape: Sequence[int], n_places: int) -> dict[int, Profile]:
    return {axis: np.zeros((n_places, size)) for axis, size in enumerate(shape) if size > 1}


def tell_axes(followed: Followed, channels: int | None) -> Axes:
    """What the axes of a map are.

    Parameters
    ----------
    followed : Followed
    channels : int or None
        Axis of the channels where the map is known to come from a convolution: rows that all hear
        the whole band do not follow it.

    Raises
    ------
    EncoderError
        They cannot be told.
    """
    time = [axis for axis, p in followed.time.items() if abs(follows(p)) > TIME_FOLLOWS]
    shape = list(followed.shape)
    if len(time) != 1 or follows(followed.time[time[0]]) < 0:
        told = "none" if not time else ", ".join(f"axis {axis}" for axis in time)
        raise EncoderError(
            f"a map of shape {shape}: which axis is time cannot be told; {told} follows a change "
            "in the sound",
            hint="choose a value with one time axis, before pooling, attention or flattening",
        )
    rest = [axis for axis in followed.time if axis != time[0]]
    if _spread(followed.band[time[0]]) > MIXED:
        raise EncoderError(
            f"a map of shape {shape}: axis {time[0]} holds time and frequency in one",
            hint="choose a value in which they are two axes",
        )
    if not 1 <= len(rest) <= 2:
        raise EncoderError(
            f"a map of shape {shape}: expected components, time and at most one more axis",
            hint="choose a value [1, D, S_t, S_f], in any order of its axes",
        )
    if len(rest) == 1:
        return Axes(time[0], rest[0], None)
    bands = {axis: follows(followed.band[axis]) for axis in rest}
    telling = [axis for axis in rest if abs(bands[axis]) > BAND_FOLLOWS]
    if channels in rest:
        freq = next(axis for axis in rest if axis != channels)
    elif len(telling) == 1:
        freq = telling[0]
    else:
        raise EncoderError(
            f"a map of shape {shape}: which of the axes {rest} is frequency cannot be told",
            hint="choose an earlier value, whose rows hear less of the band",
        )
    dims = next(axis for axis in rest if axis != freq)
    descends = bands[freq] < 0 if freq in telling else None
    return Axes(time[0], dims, freq, descends)


def follows(profile: Profile) -> float:
    """Correlation of the place of a change with its centre along an axis, -1 to 1."""
    centre = _centres(profile)
    if not np.ptp(centre):
        return 0.0
    return float(np.corrcoef(np.arange(len(centre)), centre)[0, 1])


def _centres(profile: Profile) -> NDArray[np.float64]:
    """Mean index along the axis for each place: (places,)."""
    total = np.maximum(profile.sum(axis=1), np.finfo(float).tiny)
    centres: NDArray[np.float64] = profile @ np.arange(profile.shape[1]) / total
    return centres


def _spread(profile: Profile) -> float:
    """How far the centres in frequency of an axis' entries lie apart, as a share of the scale."""
    shares = profile / np.maximum(profile.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    heard = shares.sum(axis=0)
    centres = np.arange(len(shares)) @ shares / np.maximum(heard, np.finfo(float).tiny)
    return float(np.std(centres[heard > 0]) / (len(shares) - 1))
