"""Which maps of a graph could be token maps, and what each would cost."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from edge_probe.errors import EncoderError
from export.encoders import stimuli
from export.encoders.axes import Followed, follow, tell_axes
from export.encoders.cut import Probe, with_outputs
from export.encoders.graph import channel_axis, float_maps
from export.encoders.model import FloatArray, session_of, waveform_input

MIN_DIMS = 8
"""Components below which a map is a spectrogram, or nearly one."""

_PLACES, _REPEATS, _RUNS = 12, 1, 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A map of four axes that changes with the sound."""

    value: str
    shape: tuple[int, ...]
    sizes: tuple[int, int, int] | None
    """(D, S_t, S_f); None where it is no token map."""
    problem: str | None
    """Why it is none."""
    negative: float
    """Share of its components below zero; a map without any is not signed: prototypes of ±1 tell
    such tokens apart less well than those before the activation."""
    ms: float
    """Of the graph up to it, for one chunk, on one core of this machine."""


def candidates(model: onnx.ModelProto, rate_hz: int, n_samples: int | None) -> Iterator[Candidate]:
    """The last signed and the last unsigned map of each shape, in the order of the graph.

    Parameters
    ----------
    model : ModelProto
    rate_hz : int
        That of the waveform.
    n_samples : int or None
        Of a chunk, where the graph leaves it open.

    Raises
    ------
    EncoderError
        The graph does not take a waveform, or has no map of four axes.
    """
    waveform_input(model, n_samples)
    names = float_maps(model)
    if not names:
        raise EncoderError(
            "the graph has no map of four axes", hint="name a value [1, T, D] with --tokens"
        )
    probe = Probe(model, names, n_samples)
    sound = stimuli.long_noise(probe.n_samples, rate_hz, seed=3)
    last: dict[tuple[tuple[int, ...], bool], tuple[str, float]] = {}
    for name, map_ in probe(sound).items():
        if map_.size > max(map_.shape):  # else a vector
            negative = float(np.mean(map_ < 0))
            last.pop((map_.shape, negative > 0), None)
            last[map_.shape, negative > 0] = (name, negative)
    chosen = [name for name, _ in last.values()]
    followed = follow(
        Probe(model, chosen, n_samples), probe.n_samples, rate_hz,
        n_places=_PLACES, n_repeats=_REPEATS,
    )  # fmt: skip
    for (shape, _), (name, negative) in last.items():
        sizes, problem = _told(followed[name], channel_axis(model, name))
        ms = _milliseconds(model, name, probe, sound.astype(np.float32))
        yield Candidate(name, shape, sizes, problem, negative, ms)


def _told(
    followed: Followed, channels: int | None
) -> tuple[tuple[int, int, int] | None, str | None]:
    """(D, S_t, S_f), or why it is no token map."""
    try:
        axes = tell_axes(followed, channels)
    except EncoderError as error:
        return None, error.message
    shape = followed.shape
    if shape[axes.dims] < MIN_DIMS:
        return None, f"{shape[axes.dims]} components are no token"
    return (shape[axes.dims], shape[axes.time], 1 if axes.freq is None else shape[axes.freq]), None


def _milliseconds(model: onnx.ModelProto, name: str, probe: Probe, sound: FloatArray) -> float:
    session = session_of(with_outputs(model, [name]))
    feed = {probe.input: sound.reshape(probe.shape)}
    session.run(None, feed)
    spent = []
    for _ in range(_RUNS):
        begin = time.perf_counter()
        session.run(None, feed)
        spent.append(time.perf_counter() - begin)
    return 1e3 * min(spent)
