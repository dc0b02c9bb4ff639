"""The chunk lengths that an encoder allows."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_probe.errors import EncoderError
from edge_probe.spec import TokenGrid
from export.card import EncoderCard
from export.encoders.model import FloatArray, load_model, run, session_of, waveform_input

PARTS = (1, 2, 3, 4, 6, 8)
"""A window is tried in so many chunks."""


def is_open(card: EncoderCard) -> bool:
    """Whether the graph takes waveforms of any length."""
    model = load_model(card.graph)
    try:
        waveform_input(model, None)
    except EncoderError:
        return True
    return False


def at_length(card: EncoderCard, n_samples: int) -> EncoderCard:
    """The same encoder with another chunk; the step between columns stays.

    Raises
    ------
    EncoderError
        The graph does not take so many samples, or gives no column for them.
    """
    if n_samples == card.spec.chunk_samples:
        return card
    feed: dict[str, FloatArray] = {card.spec.input_name: np.zeros((1, n_samples), np.float32)}
    (tokens,) = run(session_of(card.graph), [card.spec.output_name], feed)
    old = card.spec.grid
    if tokens.shape[2] < 1 or (tokens.shape[1], tokens.shape[3]) != (old.n_dims, old.n_freq):
        raise EncoderError(
            f"{card.graph}: {n_samples} samples give a token map {list(tokens.shape)}",
            hint="choose a length that gives columns of the same tokens",
        )
    grid = TokenGrid(
        old.n_dims, tokens.shape[2], old.n_freq, old.start_samples, old.step_samples,
        old.band_edges_hz,
    )  # fmt: skip
    return replace(card, spec=replace(card.spec, chunk_samples=n_samples, grid=grid))


def allowed_within(card: EncoderCard, window_s: float) -> list[EncoderCard]:
    """The encoder with chunks of whole columns that divide a window into `PARTS`, longest first.

    Lengths differ from the card's own by whole columns. Those that the graph does not take are left
    out.

    Raises
    ------
    EncoderError
        None is left.
    """
    spec = card.spec
    step = max(1, round(spec.grid.step_samples))
    extra = spec.chunk_samples - step * spec.grid.n_time
    lengths = {
        extra + int((window_s * spec.sample_rate_hz / parts - extra) // step) * step
        for parts in PARTS
    }
    found = []
    for n_samples in sorted(lengths, reverse=True):
        if n_samples >= step:
            with contextlib.suppress(EncoderError):
                found.append(at_length(card, n_samples))
    if not found:
        raise EncoderError(
            f"{card.graph}: takes no chunk that fits into a window of {window_s:g} s",
            hint=f"its card says {spec.chunk_s:g} s: give a longer --window-s",
        )
    return found


def refuse_others(cards: Sequence[EncoderCard]) -> None:
    """Make sure that these are one encoder, at lengths that are all different.

    Raises
    ------
    EncoderError
    """
    first, *rest = cards
    for card in rest:
        facts = [
            ("rate", first.spec.sample_rate_hz, card.spec.sample_rate_hz),
            ("D", first.spec.grid.n_dims, card.spec.grid.n_dims),
            ("S_f", first.spec.grid.n_freq, card.spec.grid.n_freq),
        ]
        if different := [f"{name} {a} and {b}" for name, a, b in facts if a != b]:
            raise EncoderError(
                f"{first.graph.name} and {card.graph.name} are not one encoder at several lengths: "
                f"{', '.join(different)}",
                hint="give files that were exported from one encoder",
            )
    lengths = [card.spec.chunk_samples for card in cards]
    if len(set(lengths)) < len(lengths):
        raise EncoderError(
            f"expected chunks of different lengths, found {', '.join(map(str, lengths))} samples",
            hint="give each length once",
        )
