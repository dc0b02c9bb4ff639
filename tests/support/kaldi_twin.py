"""Log-mel levels frame by frame in float64, as kaldi and torchaudio describe them.

Written apart from `export.encoders.front_end`, of which it only takes the constants: nothing is
folded here, the transform is NumPy's, and each triangle is drawn on its own.
"""

import numpy as np
from numpy.typing import NDArray

from export.encoders.front_end import FrontEnd

Array = NDArray[np.float64]


def exact_levels(front_end: FrontEnd, waveform: NDArray[np.float32]) -> Array:
    """Natural logarithms of mel power before padding and normalising: (n_frames, n_mels)."""
    x = waveform.astype(np.float64) * front_end.gain
    n, hop = front_end.window_samples, front_end.hop_samples
    if front_end.centred:
        half = front_end.n_fft // 2
        x = np.concatenate([x[half:0:-1], x, x[-2 : -half - 2 : -1]])
    banks = _triangles(front_end)
    rows = []
    for begin in range(0, len(x) - n + 1, hop):
        frame = x[begin : begin + n].copy()
        if front_end.remove_offset:
            frame -= frame.mean()
        frame[1:] -= front_end.preemphasis * frame[:-1].copy()
        frame[0] -= front_end.preemphasis * frame[0]
        power = np.abs(np.fft.rfft(frame * _taper(front_end), front_end.n_fft)) ** 2
        rows.append(np.log(np.maximum(banks @ power, front_end.floor)))
    levels = np.array(rows)
    if front_end.range_db is not None:
        levels = np.maximum(levels, levels.max() - front_end.range_db * np.log(10) / 10)
    return levels


def _taper(front_end: FrontEnd) -> Array:
    n = front_end.window_samples
    if front_end.window == "hann":
        return np.hanning(n + 1)[:-1]
    return np.hanning(n) ** (0.85 if front_end.window == "povey" else 1.0)


def _triangles(front_end: FrontEnd) -> Array:
    """(n_mels, n_fft / 2 + 1)."""
    bins_hz = np.arange(front_end.n_fft // 2 + 1) * front_end.sample_rate_hz / front_end.n_fft
    low, high = (1127 * np.log(1 + hz / 700) for hz in (front_end.low_hz, front_end.high_hz))
    corners = np.linspace(low, high, front_end.n_mels + 2)
    axis = 1127 * np.log(1 + bins_hz / 700)
    if front_end.straight_in == "hz":
        corners, axis = 700 * (np.exp(corners / 1127) - 1), bins_hz
    banks = np.zeros((front_end.n_mels, len(bins_hz)))
    for band, (left, centre, right) in enumerate(
        zip(corners[:-2], corners[1:-1], corners[2:], strict=True)
    ):
        for index, place in enumerate(axis):
            if left < place <= centre:
                banks[band, index] = (place - left) / (centre - left)
            elif centre < place < right:
                banks[band, index] = (right - place) / (right - centre)
    return banks
