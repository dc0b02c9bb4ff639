"""Sound and picture of what people are asked about: files beside the page, or inside it."""

from base64 import b64encode
from pathlib import Path

from edge_probe.desk.clip_audio import ClipAudio
from edge_probe.desk.picture import bare_picture
from edge_probe.source.flac import encode
from edge_probe.source.wav import pcm_header

FOLDER = "media"

SLOWED = 10
"""Ultrasound is played that many times slower: browsers and people hear nothing of it."""

_AUDIBLE_HZ = 96_000
"""Up to this sample rate sound is played as it is."""


class Media:
    """Writes FLAC and WebP while there is room.

    Parameters
    ----------
    folder : Path
        Of the page.
    quota_bytes : int
        Of all of them together.
    inside : bool
        Whether they go into the page, as ``data:`` addresses.
    """

    def __init__(self, folder: Path, quota_bytes: int, *, inside: bool) -> None:
        self._folder, self._inside = folder / FOLDER, inside
        self._left_bytes = quota_bytes
        self._n = 0
        self._folder.mkdir()

    def write(self, audio: ClipAudio) -> dict[str, object] | None:
        """Addresses of sound and picture for the page; None: there is no room for both."""
        picture = bare_picture(audio.samples)
        slowed = SLOWED if audio.rate_hz > _AUDIBLE_HZ else 1
        sound = self._flac(audio, audio.rate_hz // slowed)
        n_bytes = len(picture) + len(sound)
        if n_bytes > self._left_bytes:
            return None
        self._left_bytes -= n_bytes
        self._n += 1
        return {
            "sound": self._keep(sound, "flac", "audio/flac"),
            "picture": self._keep(picture, "webp", "image/webp"),
            "slowed": slowed,
        }

    def close(self) -> None:
        """Nothing more comes."""
        if self._inside:
            self._folder.rmdir()

    def _flac(self, audio: ClipAudio, rate_hz: int) -> bytes:
        wav, flac = self._folder / "new.wav", self._folder / "new.flac"
        pcm = audio.pcm()
        wav.write_bytes(pcm_header(rate_hz, 1, audio.sample_bytes, len(pcm)) + pcm)
        encode(wav, flac)
        data = flac.read_bytes()
        wav.unlink()
        flac.unlink()
        return data

    def _keep(self, data: bytes, suffix: str, media_type: str) -> str:
        if self._inside:
            return f"data:{media_type};base64,{b64encode(data).decode()}"
        name = f"{self._n:06d}.{suffix}"
        (self._folder / name).write_bytes(data)
        return f"{FOLDER}/{name}"
