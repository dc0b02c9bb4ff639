"""The token cache: every clip is encoded once, however often heads are trained on it."""

from export.tokens.cache import Encoded, TokenCache
from export.tokens.chunks import audio_chunks, clip_chunks
from export.tokens.encode import ClipTokens
from export.tokens.keys import encoder_key

__all__ = [
    "ClipTokens", "Encoded", "TokenCache", "audio_chunks", "clip_chunks", "encoder_key",
]  # fmt: skip
