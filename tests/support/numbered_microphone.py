"""A microphone of PulseAudio that numbers its frames, at the pace of a sound card.

The card counts samples, channel by channel, since it was switched on, and goes on counting while
nobody hears it: what lies between two recorded frames is read from them. A sample of 32 bits, mono
or not, holds its number, a shorter one what of it fits.
"""

import fcntl
import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from support.virtual_microphone import VirtualMicrophone

from edge_probe.capture.segment import Format

RATE = 48_000
MONO = Format(RATE, 1, 4)

_ALSA = "front-left,front-right,rear-left,rear-right,front-center,lfe,side-left,side-right"
"""Channels in ALSA's order: in another one the server would mix or swap them."""

_FORMATS = {2: "s16le", 3: "s32le", 4: "s32le"}
"""24 bits are the upper ones of 32: PulseAudio 16 aborts where 4096 bytes of a pipe are not whole
frames. It drops the lower ones, which are 0, when somebody asks for 24."""

_STEP_S = 0.02
_PIPE_S = 1 / 3
_NICENESS = -10
"""A sound card asks nobody for the processor."""


class NumberedMicrophone(VirtualMicrophone):
    """As `VirtualMicrophone`; its card is a thread that writes into a pipe.

    The pipe holds a third of a second, like the buffer of a card: when nobody reads, all
    that is in it is lost.

    Parameters
    ----------
    folder : Path
    format_ : Format, optional
    """

    source = "numbered"
    server = "load-module module-native-protocol-unix\n"

    def __init__(self, folder: Path, format_: Format = MONO) -> None:
        self.format = format_
        self._pipe = folder / "card"
        self._is_mute, self._is_off = threading.Event(), threading.Event()
        self._card = threading.Thread(target=self._run, name="card")
        super().__init__(folder, format_.rate_hz)
        self._card.start()

    def plug(self) -> None:
        """Start the server, with the card."""
        super().plug()
        self.load()

    def load(self) -> None:
        """Let the server have the card."""
        self._pipe.unlink(missing_ok=True)  # of a server that was killed
        self.control(
            "load-module", "module-pipe-source", f"source_name={self.source}",
            f"file={self._pipe}", f"rate={self.format.rate_hz}",
            f"channels={self.format.n_channels}", f"format={_FORMATS[self.format.sample_bytes]}",
            *([f"channel_map={_ALSA}"] if self.format.n_channels == 8 else []),
        )  # fmt: skip

    def unload(self) -> None:
        """Take the card from the server."""
        self.control("unload-module", "module-pipe-source")

    def suspend(self) -> None:
        """Let the server have the card asleep."""
        self.control("suspend-source", self.source, "1")

    def resume(self) -> None:
        """End `suspend`."""
        self.control("suspend-source", self.source, "0")

    def mute(self) -> None:
        """Let the card give nothing, not even zeros."""
        self._is_mute.set()

    def unmute(self) -> None:
        """End `mute`."""
        self._is_mute.clear()

    def reroute(self) -> None:
        """Take the card away while there is another source, which is silent: nobody is told."""
        self.control("load-module", "module-null-sink", "sink_name=elsewhere", "format=s32le")
        self.unload()

    def control(self, *words: str) -> str:
        """Ask the server."""
        return subprocess.run(
            ["pactl", *words], env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def close(self) -> None:
        """Switch all of it off."""
        self._is_off.set()
        self._card.join()
        super().close()

    def _run(self) -> None:
        with suppress(PermissionError):  # not root: the card is late now and then, that is all
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        begin, n = time.monotonic(), 0
        while not self._is_off.wait(_STEP_S):
            due = round((time.monotonic() - begin) * self.format.rate_hz)
            if not self._is_mute.is_set():
                with suppress(FileNotFoundError):  # no server has it
                    self._write(self._frames(n, due))
            n = due

    def _frames(self, begin: int, end: int) -> bytes:
        numbers = np.arange(begin * self.format.n_channels, end * self.format.n_channels)
        if self.format.sample_bytes == 3:
            numbers <<= 8
        n_bytes = 2 if self.format.sample_bytes == 2 else 4
        return numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :n_bytes].tobytes()

    def _write(self, frames: bytes) -> None:
        pipe = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
        n_bytes = round(_PIPE_S * self.format.rate_hz * self.format.frame_bytes)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, n_bytes)  # to the next power of two
        try:
            if os.write(pipe, frames) < len(frames):
                _empty(pipe)
        except BlockingIOError:
            _empty(pipe)
        finally:
            os.close(pipe)


def _empty(pipe: int) -> None:
    with suppress(BlockingIOError):
        while os.read(pipe, 1 << 16):
            pass
