"""A folder as people bring it: recordings of several places, and whatever else lies there."""

import os
import shutil
from pathlib import Path

import numpy as np
import soundfile as sf

RATE_HZ = 1000


def noise(n_samples: int, seed: int) -> np.ndarray:
    """(n,) int16 whose loudness comes and goes, so that the tiny bundle hears something."""
    random = np.random.default_rng(seed)
    slow = np.repeat(random.uniform(-1, 1, n_samples // 64 + 1), 64)[:n_samples]
    return np.clip(random.normal(0, 3000, n_samples) + 6000 * slow, -32768, 32767).astype(np.int16)


def recording(path: Path, n_samples: int, seed: int) -> Path:
    """Noise in a file of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, noise(n_samples, seed), RATE_HZ, subtype="PCM_16")
    return path


GOOD = (
    "Süd/Ж 木.flac",
    "a/20260501_040000.wav",
    "b/20260501_040000.wav",
    "b/deep/er/20260501_050000.flac",
    "link.wav",
    "linked/20260501_040000.wav",
    "linked/deep/er/20260501_050000.flac",
    "plain.WAV",
)
"""What is whole, by its path; links included."""

BAD = {
    "bad/broken_link.wav": "No such file or directory",
    "bad/circle": "Too many levels of symbolic links",
    "bad/cut.wav": "is cut off or damaged after 700 samples",
    "bad/empty.wav": "the file is empty",
    "bad/nan.wav": "sample 900 (0.900 s) is NaN or infinite",
    "bad/pipe.wav": "not a regular file",
    "bad/short.wav": "too short to classify",
    "bad/song.mp3": "found something else whatever its name says",
    "bad/stereo.wav": "2 channels and none was chosen",
    "bad/text.wav": "found something else whatever its name says",
}
"""What is not, and words of why."""


def recordings(folder: Path) -> Path:
    """Make the folder, with `GOOD` and `BAD` and things that are no business of ours."""
    for seed, name in enumerate(name for name in GOOD if not name.startswith("link")):
        recording(folder / name, 1500 + 200 * seed, seed)
    (folder / "link.wav").symlink_to(folder / "a" / "20260501_040000.wav")
    (folder / "linked").symlink_to("b")
    (folder / "b" / "up").symlink_to("..")
    (folder / "._plain.wav").write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("rain at noon")
    bad = folder / "bad"
    bad.mkdir()
    (bad / "broken_link.wav").symlink_to("nowhere.wav")
    (bad / "circle").symlink_to("circle")
    whole = recording(bad / "cut.wav", 1500, 99)
    os.truncate(whole, 44 + 2 * 700)
    (bad / "empty.wav").touch()
    broken = noise(1500, 98).astype(np.float32) / 32768
    broken[900] = np.nan
    sf.write(bad / "nan.wav", broken, RATE_HZ, subtype="FLOAT")
    os.mkfifo(bad / "pipe.wav")
    recording(bad / "short.wav", 3, 97)
    (bad / "song.mp3").write_bytes(b"ID3" + bytes(100))
    sf.write(bad / "stereo.wav", np.zeros((1500, 2), np.int16), RATE_HZ, subtype="PCM_16")
    (bad / "text.wav").write_text("no sound")
    return folder


def content(out: Path) -> dict[str, bytes]:
    """Every file of a folder of results but the list, which SQLite may lay out as it likes."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in {"list.sqlite", "lock"}
    }


def copy_of(folder: Path, target: Path) -> Path:
    """The same folder somewhere else, links as links."""
    shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns("pipe.wav"))
    os.mkfifo(target / "bad" / "pipe.wav")
    return target
