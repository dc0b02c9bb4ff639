"""PCM WAV as it was delivered, with a header that is right at every moment."""

import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge_probe.errors import AudioError

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
HEADER_BYTES = _HEADER.size
MAX_DATA_BYTES = 2**32 - 1 - HEADER_BYTES
"""Its sizes are numbers of 32 bits."""


def pcm_header(rate_hz: int, n_channels: int, sample_bytes: int, n_data_bytes: int) -> bytes:
    """The 44 bytes before the samples of a PCM WAV file (format tag 1).

    Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft, 1991).
    """
    frame_bytes = sample_bytes * n_channels
    return _HEADER.pack(
        b"RIFF", HEADER_BYTES - 8 + n_data_bytes, b"WAVE", b"fmt ", 16, 1, n_channels, rate_hz,
        rate_hz * frame_bytes, frame_bytes, 8 * sample_bytes, b"data", n_data_bytes,
    )  # fmt: skip


class WavWriter:
    """A 16-bit PCM WAV file (format tag 1) that stays readable when the program is interrupted.

    Parameters
    ----------
    path : Path
        Must not exist yet.
    sample_rate_hz, n_channels : int

    Raises
    ------
    AudioError
        The file cannot be written, now or later.
    """

    def __init__(self, path: Path, sample_rate_hz: int, n_channels: int) -> None:
        self._name = str(path)
        try:
            self._file = path.open("xb")
        except FileExistsError as error:
            raise AudioError(
                f"{path}: exists already", hint="choose another name for --save"
            ) from error
        except OSError as error:
            raise self._failed(error.strerror) from error
        self._rate_hz, self._n_channels = sample_rate_hz, n_channels
        self._n_bytes = 0
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, frames: NDArray[np.int16]) -> None:
        """Append frames: (n, n_channels) int16."""
        data = frames.astype("<i2", copy=False).tobytes()
        if self._n_bytes + len(data) > MAX_DATA_BYTES:
            raise self._failed("a WAV file cannot hold more than 4 GiB")
        try:
            self._file.write(data)
            self._n_bytes += len(data)
            self._write_header()
        except OSError as error:
            raise self._failed(error.strerror) from error

    def _failed(self, reason: str | None) -> AudioError:
        return AudioError(
            f"{self._name}: cannot be written: {reason}", hint="what was kept so far is a valid WAV"
        )

    def _write_header(self) -> None:
        header = pcm_header(self._rate_hz, self._n_channels, 2, self._n_bytes)
        self._file.seek(0)
        self._file.write(header)
        self._file.seek(0, 2)
        self._file.flush()
