"""The spectrogram of a clip with the box of its detection, as a PNG of 800 by 400 pixels."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from edge_probe.desk.clip_audio import ClipAudio
from edge_probe.desk.rows import DetectionRow

_INCHES, _DPI = (8, 4), 100
_COLUMNS = 800
"""More than there are pixels help nobody."""

_FFT_SAMPLES = 1024
"""21 ms and 47 Hz at 48 kHz, 2.7 ms and 375 Hz at 384 kHz: birds as well as bats."""

_RANGE_DB = 60.0
_BOX_COLOUR = "#E69F00"


def picture(clip: ClipAudio, row: DetectionRow, time_text: str) -> bytes:
    """Draw it.

    Parameters
    ----------
    clip : ClipAudio
    row : DetectionRow
        Whose box is drawn; without known edges it is as high as the picture.
    time_text : str
        When, for people.

    Returns
    -------
    bytes
        PNG.
    """
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    nyquist_khz = clip.rate_hz / 2000
    levels = spectrogram(clip.samples)
    top = float(levels.max())
    axes.imshow(
        levels.T, origin="lower", aspect="auto", cmap="magma", vmin=top - _RANGE_DB, vmax=top,
        extent=(0, clip.duration_s, 0, nyquist_khz), interpolation="nearest",
    )  # fmt: skip
    start_s = (row.start_sample - clip.start_sample) / clip.rate_hz
    low_khz = 0.0 if row.low_hz is None else row.low_hz / 1000
    high_khz = nyquist_khz if row.high_hz is None else row.high_hz / 1000
    axes.add_patch(Rectangle(
        (start_s, low_khz), (row.end_sample - row.start_sample) / clip.rate_hz, high_khz - low_khz,
        fill=False, edgecolor=_BOX_COLOUR, linewidth=1.5,
    ))  # fmt: skip
    axes.set(xlim=(0, clip.duration_s), ylim=(0, nyquist_khz))
    axes.set(xlabel="time, s", ylabel="frequency, kHz")
    axes.set_title("\n".join(_title(row, time_text)), fontsize=9, loc="left")
    png = io.BytesIO()
    with warnings.catch_warnings():  # letters that the font lacks are boxes
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        canvas.print_png(png)
    return png.getvalue()


def spectrogram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels of a Hann-windowed Fourier transform.

    Parameters
    ----------
    samples : (n,) float32
        At least one; a short clip is filled up with zeros.

    Returns
    -------
    (columns, _FFT_SAMPLES / 2 + 1) float32
        dB; -200 where there is nothing.
    """
    n_missing = max(0, _FFT_SAMPLES - len(samples))
    padded = np.pad(samples, (0, n_missing))
    step = max(_FFT_SAMPLES // 8, len(padded) // _COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::step]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT_SAMPLES))) ** 2
    levels: NDArray[np.float32] = (10 * np.log10(power + 1e-20)).astype(np.float32)
    return levels


def _title(row: DetectionRow, time_text: str) -> Sequence[str]:
    name = row.common_name
    if row.scientific_name != row.common_name:
        name += f" ({row.scientific_name})"
    score = "probability" if row.calibrated else "score"
    lines = (f"{name}, {score} {row.score:.2f}", f"{time_text}, {row.deployment_id}, {row.bundle}")
    return [_plain(line) for line in lines]


def _plain(text: str) -> str:
    """What fits, and is not taken for mathematics."""
    short = text if len(text) <= 110 else f"{text[:109]}…"
    return short.replace("$", r"\$")
