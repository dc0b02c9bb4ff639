"""Where the columns and rows of a token map lie, in samples and hertz.

Columns: the step is the shift of the sound after which the map is the same, one column on. Where
no shift does that (a chunk of few columns, an encoder that hears the whole chunk in each of them),
columns are taken to tile the chunk. Where column 0 begins is where its changes are heard; less than
`CERTAIN_COLUMNS` from the beginning of the chunk it is taken to be there.

Rows: told by the spectrogram, whose rows are narrow, not by the map, whose rows hear neighbours.
Convolutions and pooling keep the order of rows, so row r of S_f hears the r-th part of them.
"""

from collections.abc import Callable
from math import ceil

import numpy as np
from numpy.typing import NDArray

from export.encoders import stimuli
from export.encoders.axes import Maps, Profile, follows, profiles

CERTAIN_COLUMNS = 0.3
"""By which the measured begin of a column was off on encoders of known geometry."""

UNLIKE = 0.5
"""Squared distance of the map from its shifted self, as a share of the median over all shifts,
above which no shift is the step."""

AS_GOOD = 1.25
"""Squared distance for columns that tile the chunk, as a share of the least one, up to which they
are taken to do so."""

SPECTROGRAM_PLACES, SPECTROGRAM_REPEATS = 64, 2
"""In frequency, to tell the rows of a spectrogram."""

SHARP = 0.95
"""Correlation of band and row from which on rows are those of a spectrogram."""

TINY = np.finfo(float).tiny

Columns = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A waveform (N,) through the graph: (S_t, anything)."""


def step_samples(columns: Columns, n_samples: int, sample_rate_hz: float) -> float:
    """Samples from one column to the next.

    Parameters
    ----------
    columns : callable
    n_samples : int
        Of a chunk.
    sample_rate_hz : float
    """
    sound = stimuli.long_noise(3 * n_samples, sample_rate_hz, seed=7)
    first = columns(sound[:n_samples])
    n_columns = len(first)
    tiled = n_samples / n_columns

    def distances(shifts: NDArray[np.float64], columns_on: int) -> NDArray[np.float64]:
        """Of the map, so many columns on, from that of the sound shifted so many steps."""
        margin = (n_columns - columns_on) // 4  # what pads the chunk is heard in the outer columns
        inner = slice(margin, n_columns - columns_on - margin)
        following = first[columns_on:][inner]
        found = []
        for at in np.rint(shifts * columns_on).astype(int):
            shifted = columns(sound[at : at + n_samples])[:-columns_on]
            found.append(float(np.sum((shifted[inner] - following) ** 2)))
        return np.array(found)

    if n_columns < 4:
        return tiled
    coarse = tiled * np.linspace(0.4, 1.6, 25)
    far = distances(coarse, 1)
    if far.min() > UNLIKE * np.median(far):
        return tiled
    farther = max(1, n_columns // 8)
    fine = coarse[far.argmin()] * (1 + np.linspace(-0.04, 0.04, 25))
    fine = np.unique(np.rint(fine * farther)) / farther
    near, of_tiled = distances(fine, farther), distances(np.array([tiled]), farther)[0]
    return tiled if of_tiled <= AS_GOOD * near.min() else float(fine[near.argmin()])


def start_samples(profile: Profile, step: float, n_samples: int) -> float:
    """Where column 0 begins, from how columns (places, S_t) answer to changes in time."""
    n_columns = profile.shape[1]
    places = stimuli.time_places(n_samples, len(profile))
    middle = places @ profile / np.maximum(profile.sum(axis=0), TINY)
    margin = n_columns // 4
    inner = slice(margin, n_columns - margin)
    begin = float(np.mean((middle - (np.arange(n_columns) + 0.5) * step)[inner]))
    return 0.0 if abs(begin) < CERTAIN_COLUMNS * step else float(round(begin))


def band_edges_hz(
    maps: Maps, n_samples: int, sample_rate_hz: float, n_rows: int
) -> list[float] | None:
    """Edges of the rows of a token map, in its own order.

    Parameters
    ----------
    maps : callable
        One map: the spectrogram.
    n_samples : int
        Of a chunk.
    sample_rate_hz : float
    n_rows : int
        S_f.

    Returns
    -------
    (S_f + 1,) ascending or descending; None where the spectrogram has several channels, which may
    hear several bands in one row, or its rows cannot be told
    """
    (shape,) = (map_.shape for map_ in maps(np.zeros(n_samples)).values())
    if sum(size > 1 for size in shape) > 2:
        return None
    ((_, found),) = profiles(
        stimuli.in_bands, maps, n_samples, sample_rate_hz, SPECTROGRAM_PLACES, SPECTROGRAM_REPEATS
    ).values()
    rows = [axis for axis, profile in found.items() if abs(follows(profile)) > SHARP]
    if len(rows) != 1 or shape[rows[0]] < n_rows:
        return None
    mel = stimuli.to_mel(stimuli.band_places(sample_rate_hz, SPECTROGRAM_PLACES))
    middles = np.array([_middle(answer, mel) for answer in found[rows[0]].T])
    n_bands = len(middles)
    borders = np.minimum(np.arange(n_rows + 1) * ceil(n_bands / n_rows), n_bands) - 0.5
    edges = np.interp(borders, np.arange(n_bands), middles)
    edges[0], edges[-1] = _outer(middles), _outer(middles[::-1])
    hertz = np.clip(stimuli.from_mel(edges), 0.0, sample_rate_hz / 2)
    order = np.diff(hertz)
    return (
        [float(f"{edge:.4g}") for edge in hertz] if (order > 0).all() or (order < 0).all() else None
    )


def _middle(answer: NDArray[np.float64], mel: NDArray[np.float64]) -> float:
    """The middle of the band that a row of the spectrogram hears best."""
    loud, peak = answer > answer.max() / 2, int(answer.argmax())
    first = peak - int(np.argmin(np.append(loud[peak::-1], False))) + 1
    last = peak + int(np.argmin(np.append(loud[peak:], False)))
    return float(np.average(mel[first:last], weights=answer[first:last]))


def _outer(middles: NDArray[np.float64]) -> float:
    """Where the first row begins, by what most of the first quarter of the rows say."""
    some = middles[: max(4, len(middles) // 4)]
    width = float(np.median(np.diff(some)))
    return float(np.median(some - (np.arange(len(some)) + 0.5) * width))
