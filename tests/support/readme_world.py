"""The folder in which the README's examples run: clips of two made-up species, a recording."""

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

RATE = 22_050


def _call(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """Two seconds: noise, or noise with a rising or a low pulsed tone."""
    time_s = np.arange(2 * RATE) / RATE
    sound = rng.normal(0, 0.01, len(time_s))
    begin = rng.uniform(0.2, 1.0)
    inside = (time_s > begin) & (time_s < begin + 0.7)
    phase = time_s - begin
    if kind == "rising":
        sound += 0.3 * np.sin(2 * np.pi * (2_000 * phase + 1_500 * phase**2)) * inside
    elif kind == "pulsed":
        sound += (
            0.3 * np.sin(2 * np.pi * 600 * phase) * (np.sin(2 * np.pi * 12 * phase) > 0) * inside
        )
    return sound


def make_world(folder: Path) -> None:
    """Write ``my_clips/`` (two classes and Background), ``site/`` and ``night.wav``."""
    rng = np.random.default_rng(1)
    classes = {
        "Imaginarius ascendens_Rising Warbler": "rising",
        "Imaginarius pulsans_Pulsing Frog": "pulsed",
        "Background": "noise",
    }
    for name, kind in classes.items():
        (folder / "my_clips" / name).mkdir(parents=True)
        for number in range(12):
            path = folder / "my_clips" / name / f"recording{number}.wav"
            sf.write(path, _call(rng, kind), RATE)
    kinds = ["noise", "rising", "noise", "pulsed", "rising", "noise"]
    sf.write(folder / "night.wav", np.concatenate([_call(rng, kind) for kind in kinds]), RATE)
    (folder / "site").mkdir()
    sf.write(folder / "site" / "day.wav", np.concatenate([_call(rng, "noise")] * 10), RATE)
