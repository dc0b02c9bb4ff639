"""Spectrograms of clips: with axes and box, or bare, for a page that draws both itself."""

import io
import warnings
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from edge_probe.desk.clip_audio import ClipAudio
from edge_probe.desk.rows import DetectionRow

_INCHES, _DPI = (8, 4), 100
_AXES = (0.085, 0.13, 0.895, 0.74)
"""Left, bottom, width, height, of the picture's: to lay them out would take a third of the time."""

_COLUMNS = 800
"""More than there are pixels help nobody."""

_FFT_SAMPLES = 1024
"""21 ms and 47 Hz at 48 kHz, 2.7 ms and 375 Hz at 384 kHz: birds as well as bats."""

_RANGE_DB = 60.0
_BOX_COLOUR = "#56B4E9"
"""Not in the colour map, and told from it by colour-blind people (Okabe and Ito)."""

_COLOUR_MAP = "magma"
_COLOURS = 128
"""Of a PNG: a third of the bytes of one with all of them, and nobody sees it."""

_ROWS = 256
"""Of a bare picture."""

_QUALITY = 75
"""Of WebP: a third of the bytes of PNG where there is noise."""

_DARK, _BRIGHT = 30, 99.95
"""Percentiles of the levels between which a bare picture has its contrast: neither rumble nor one
click makes the rest dark."""

_LEAST_DB = 20.0


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
    figure = Figure(figsize=_INCHES, dpi=_DPI)
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes(_AXES)
    _draw_sound(axes, clip)
    _draw_box(axes, clip, row)
    axes.set(xlim=(0, clip.duration_s), ylim=(0, clip.rate_hz / 2000))
    axes.set(xlabel="time, s", ylabel="frequency, kHz")
    axes.set_title("\n".join(_title(row, time_text)), fontsize=9, loc="left")
    with warnings.catch_warnings():  # letters that the font lacks are boxes
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        canvas.draw()
    png = io.BytesIO()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    few = pixels.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE)  # others lose the loudest
    few.save(png, "PNG", optimize=True)
    return png.getvalue()


def bare_picture(samples: NDArray[np.float32]) -> bytes:
    """Draw the spectrogram alone.

    Parameters
    ----------
    samples : (n,) float32
        At least one.

    Returns
    -------
    bytes
        WebP, 256 pixels high, from 0 to half the sample rate; 800 wide, or fewer if it is short.
    """
    levels = spectrogram(samples, step_samples(len(samples)))[:, 1:]
    levels = levels.reshape(len(levels), _ROWS, -1).max(axis=2).T[::-1]
    dark, bright = np.percentile(levels, (_DARK, _BRIGHT))
    range_db = np.clip(bright - dark, _LEAST_DB, _RANGE_DB)
    share = np.clip(1 - (bright - levels) / range_db, 0, 1)
    colours = matplotlib.colormaps[_COLOUR_MAP](share, bytes=True)[..., :3]
    webp = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(webp, "WEBP", quality=_QUALITY, method=1)
    return webp.getvalue()


def _draw_sound(axes: Axes, clip: ClipAudio) -> None:
    step = step_samples(len(clip.samples))
    levels = spectrogram(clip.samples, step)
    half_step_s, half_bin_khz = step / clip.rate_hz / 2, clip.rate_hz / _FFT_SAMPLES / 2000
    end_s = (2 * len(levels) - 1) * half_step_s
    top = float(levels.max())
    axes.imshow(
        levels.T, origin="lower", aspect="auto", cmap=_COLOUR_MAP, vmin=top - _RANGE_DB, vmax=top,
        extent=(-half_step_s, end_s, -half_bin_khz, clip.rate_hz / 2000 + half_bin_khz),
        interpolation="nearest",
    )  # fmt: skip


def _draw_box(axes: Axes, clip: ClipAudio, row: DetectionRow) -> None:
    start_s = (row.start_sample - clip.start_sample) / clip.rate_hz
    low_khz = 0.0 if row.low_hz is None else row.low_hz / 1000
    high_khz = clip.rate_hz / 2000 if row.high_hz is None else row.high_hz / 1000
    axes.add_patch(Rectangle(
        (start_s, low_khz), (row.end_sample - row.start_sample) / clip.rate_hz, high_khz - low_khz,
        fill=False, edgecolor=_BOX_COLOUR, linewidth=1.5,
    ))  # fmt: skip


def step_samples(n_samples: int) -> int:
    """From one column of a spectrogram to the next."""
    return max(_FFT_SAMPLES // 8, n_samples // _COLUMNS)


def spectrogram(samples: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Levels of a Hann-windowed Fourier transform; column i is centred on sample i * step.

    Parameters
    ----------
    samples : (n,) float32
        At least one.
    step : int

    Returns
    -------
    (1 + n // step, _FFT_SAMPLES / 2 + 1) float32
        dB; -200 where there is nothing.
    """
    padded = np.pad(samples, _FFT_SAMPLES // 2)
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
    return [plain(line) for line in lines]


def plain(text: str, n_most: int = 110) -> str:
    """What fits, and is not taken for mathematics."""
    short = text if len(text) <= n_most else f"{text[: n_most - 1]}…"
    return short.replace("$", r"\$")
