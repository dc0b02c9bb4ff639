"""What tokens depend on, as hashes: the encoder names the folder, the audio names the clip."""

import hashlib
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tqdm import tqdm

from edge_probe.errors import AudioError
from export.card import EncoderCard
from export.clips import Clip


@dataclass(frozen=True, slots=True)
class AudioVersion:
    """The content of an audio file at one moment."""

    sha256: bytes
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file once from end to end.

        Raises
        ------
        AudioError
            There is no such file, it is not a regular one, or it cannot be read.
        """
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
                raise AudioError(f"{path}: is not a regular file")
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise AudioError(f"{path}: {error.strerror}") from error
        return cls(digest, found.st_size, found.st_mtime_ns)

    def check(self, path: Path) -> None:
        """Refuse a file that has changed since: tokens would get the name of other audio.

        Raises
        ------
        AudioError
        """
        try:
            now = path.stat()
        except OSError as error:
            raise AudioError(f"{path}: {error.strerror}") from error
        if (now.st_size, now.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise AudioError(f"{path}: changed while it was encoded", hint="run it again")


@dataclass(frozen=True, slots=True)
class Order:
    """A clip to be encoded, and the name its tokens get."""

    key: str
    clip: Clip
    audio: AudioVersion


def identify(
    clips: Sequence[Clip], channel: int | None, progress: str | None
) -> list[Order | AudioError]:
    """The key of every clip, or why it has none; a file of many clips is read once."""
    versions: dict[Path, AudioVersion | AudioError] = {}
    paths: Iterable[Path] = dict.fromkeys(clip.path for clip in clips)
    for path in tqdm(paths, desc=progress, unit="file", disable=progress is None, leave=False):
        try:
            versions[path] = AudioVersion.of(path)
        except AudioError as error:
            versions[path] = error
    found: list[Order | AudioError] = []
    for clip in clips:
        audio = versions[clip.path]
        if isinstance(audio, AudioVersion):
            found.append(Order(clip_key(audio, clip, channel), clip, audio))
        else:
            found.append(audio)
    return found


def clip_key(audio: AudioVersion, clip: Clip, channel: int | None) -> str:
    """40 hex digits: content of the file, part of it, channel; not its name."""
    end_s = None if clip.end_s is None else float(clip.end_s)
    part = f"{float(clip.start_s or 0)} {end_s} {channel}"
    return hashlib.sha256(audio.sha256 + part.encode()).hexdigest()[:40]


def encoder_key(card: EncoderCard) -> str:
    """What tokens depend on besides the audio: graph, external data, everything in the spec."""
    digest = hashlib.sha256(repr(card.spec).encode())
    if card.cls is not None:
        digest.update(f"cls {card.cls}".encode())
    for path in (card.graph, *card.external_data):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]
