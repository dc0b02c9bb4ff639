"""Conformance vectors: what the maker of a bundle computed, and whether this machine does too.

Only the step from audio to tokens has a tolerance. Everything after it starts from the *stored*
tokens or scores, so that digits, scores and logits of integer heads must be equal to the bit on
every CPU.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle.reader import Bundle, read_conformance
from edge_probe.bundle.tensors import Conformance
from edge_probe.encoder import Encoder, Profile
from edge_probe.head import (
    FloatLinear,
    Head,
    MeanLinearHead,
    PrototypeHead,
    WindowMaxima,
)
from edge_probe.head.native import Matcher
from edge_probe.spec import EncoderSpec

FLOAT_SCORE_TOLERANCE = 1e-6
"""Absolute, of a score from float tokens."""

FLOAT_LOGIT_TOLERANCE = 1e-5
"""Times sum |W * score|, of a logit from float32 weights."""

Tokens = Iterable[NDArray[np.float32]]
Valid = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the road from audio to decisions, compared with the stored result."""

    name: str
    kernel: str
    """The backend that computed it; empty where there is only one way."""
    passed: bool
    error: float
    """Largest absolute difference; for digits and decisions their number that differ."""
    allowed: float
    """Largest acceptable error; infinite for a stage that only informs."""


def make_conformance(
    graph: Path,
    spec: EncoderSpec,
    head: Head,
    audio: NDArray[np.int16],
    threshold_on: NDArray[np.float64],
) -> Conformance:
    """Compute the vectors of a new bundle.

    Parameters
    ----------
    graph : Path
        The encoder graph, its external data beside it.
    spec : EncoderSpec
    head : Head
    audio : (n,) int16
        Model-rate samples of one window; a last partial chunk is zero-padded.
    threshold_on : (C,) float64

    Raises
    ------
    EncoderError
        The graph does not keep what the spec promises.
    """
    encoder = Encoder(graph, spec)
    chunks = list(_chunks(audio, spec))
    tokens = [encoder.tokens(samples) for samples, _ in chunks]
    valid = [mask for _, mask in chunks]
    digits = scores = score_chunks = score_tokens = None
    if isinstance(head, PrototypeHead):
        window = _window(head, tokens, valid)
        scores, score_chunks, score_tokens = window.scores, window.chunks, window.tokens
        if head.bits != "float":
            digits = _digits(head, tokens, valid).astype(np.uint8)
    logits = _logits(head, tokens, valid)
    return Conformance(
        audio=audio,
        tokens=np.stack(tokens),
        logits=logits,
        decisions=(logits >= threshold_on).astype(np.uint8),
        digits=digits,
        scores=scores,
        score_chunks=score_chunks,
        score_tokens=score_tokens,
    )


def selftest(bundle: Bundle, profile: Profile = "low-memory") -> list[Stage]:
    """Run the conformance vectors of a bundle on this machine, with every kernel it has.

    Parameters
    ----------
    bundle : Bundle
    profile : "low-memory" or "fast"
        Session profile of the encoder.

    Returns
    -------
    list of Stage
        The bundle works here if all of them passed.

    Raises
    ------
    EncoderError
        The graph does not keep what the bundle promises.
    RejectedBundleError
        The bundle changed since it was opened.
    """
    stored = read_conformance(bundle)
    head, spec = bundle.head, bundle.encoder
    encoder = Encoder(bundle.graph_path, spec, profile=profile)
    chunks = list(_chunks(stored.audio, spec))
    valid = [mask for _, mask in chunks]
    tokens = [encoder.tokens(samples) for samples, _ in chunks]

    stages = [_numeric("tokens", np.stack(tokens), stored.tokens, bundle.manifest.token_tolerance)]
    if isinstance(head, PrototypeHead):
        stages += _match_stages(head, stored, valid)
    stages += _logit_stages(bundle, stored, valid)
    drift = _numeric("audio to logits", _logits(head, tokens, valid), stored.logits, np.inf)
    return [*stages, drift]


def _match_stages(head: PrototypeHead, stored: Conformance, valid: list[Valid]) -> Iterator[Stage]:
    """Digits and scores from the stored tokens, by every kernel."""
    exact = stored.digits is not None
    if stored.digits is not None:
        digits = _digits(head, stored.tokens, valid)
        yield _count("digits", "", int(np.count_nonzero(digits != stored.digits)))
    assert stored.scores is not None  # noqa: S101  every bundle with prototypes stores them
    for kernel, matcher in head.matchers():
        window = _window(head, stored.tokens, valid, matcher)
        tolerance = 0.0 if exact else FLOAT_SCORE_TOLERANCE
        yield _numeric("scores", window.scores, stored.scores, tolerance, kernel)
        if exact:
            moved = (window.chunks != stored.score_chunks) | (window.tokens != stored.score_tokens)
            yield _count("best tokens", kernel, int(np.count_nonzero(moved)))


def _logit_stages(bundle: Bundle, stored: Conformance, valid: list[Valid]) -> Iterator[Stage]:
    """Logits from the stored scores (mean-linear: tokens), and what they decide."""
    head = bundle.head
    if isinstance(head, MeanLinearHead):
        window = head.merge(
            [head.summarise(one, mask) for one, mask in zip(stored.tokens, valid, strict=True)]
        )
        logits = head.logits(window)
        inputs = window.total / max(window.count, 1)
    else:
        assert stored.scores is not None  # noqa: S101
        logits = head.linear.logits(stored.scores)
        inputs = stored.scores.astype(np.float64)
    tolerance = np.zeros(head.n_classes)
    if isinstance(head.linear, FloatLinear):
        tolerance = FLOAT_LOGIT_TOLERANCE * (np.abs(head.linear.weights) @ np.abs(inputs))
    errors = np.abs(logits - stored.logits)
    worst = int(np.argmax(errors - tolerance))
    passed = bool(np.all(errors <= tolerance))
    yield Stage("logits", "", passed, float(errors[worst]), float(tolerance[worst]))
    clear = np.abs(stored.logits - bundle.threshold_on) > tolerance
    decided = (logits >= bundle.threshold_on) != stored.decisions.astype(bool)
    exact = tolerance == 0
    yield _count("decisions", "", int(np.count_nonzero(decided & (clear | exact))))


def _digits(head: PrototypeHead, tokens: Tokens, valid: list[Valid]) -> NDArray[np.generic]:
    """Of all tokens, the masked ones too."""
    chunks = zip(tokens, valid, strict=True)
    return np.stack([head.digits(one, mask).values for one, mask in chunks])


def _window(
    head: PrototypeHead, tokens: Tokens, valid: list[Valid], match: Matcher | None = None
) -> WindowMaxima:
    """Of the tokens that are not masked, as `ChunkAnalyser` does it."""
    chunks = zip(tokens, valid, strict=True)
    return head.merge([head.summarise(one, mask, match) for one, mask in chunks])


def _logits(
    head: Head, tokens: list[NDArray[np.float32]], valid: list[Valid]
) -> NDArray[np.float64]:
    chunks = [head.summarise(one, mask) for one, mask in zip(tokens, valid, strict=True)]
    return head.logits(head.merge(chunks))  # type: ignore[arg-type]


def _chunks(
    audio: NDArray[np.int16], spec: EncoderSpec
) -> Iterator[tuple[NDArray[np.float32], Valid]]:
    """Chunks of float32 samples, full scale ±1, and their valid tokens."""
    for begin in range(0, len(audio), spec.chunk_samples):
        part = audio[begin : begin + spec.chunk_samples]
        samples = np.zeros(spec.chunk_samples, np.float32)
        samples[: len(part)] = part / np.float32(32768)
        yield samples, spec.grid.valid_tokens(len(part))


def _numeric(
    name: str,
    found: NDArray[np.floating],
    expected: NDArray[np.floating],
    allowed: float,
    kernel: str = "",
) -> Stage:
    error = float(np.max(np.abs(found.astype(np.float64) - expected), initial=0.0))
    return Stage(name, kernel, error <= allowed, error, allowed)


def _count(name: str, kernel: str, n_different: int) -> Stage:
    return Stage(name, kernel, n_different == 0, float(n_different), 0.0)
