"""A microphone of PulseAudio that numbers its frames, at the pace of a sound card.

Every frame, 32 bits and mono, holds its own number since the card was switched on, and the card
goes on counting while nobody hears it: what lies between two recorded frames is read from them.
"""

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from support.virtual_microphone import VirtualMicrophone

RATE = 48_000

_STEP_S = 0.02
_NICENESS = -10
"""A sound card asks nobody for the processor."""


class NumberedMicrophone(VirtualMicrophone):
    """As `VirtualMicrophone`; its card is a thread that writes into a pipe.

    The pipe holds a third of a second, like the buffer of a card: when nobody reads, all
    that is in it is lost.
    """

    source = "numbered"
    server = "load-module module-native-protocol-unix\n"

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "card"
        self._is_mute, self._is_off = threading.Event(), threading.Event()
        self._card = threading.Thread(target=self._run, name="card")
        super().__init__(folder, RATE)
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
            f"file={self._pipe}", f"rate={RATE}", "channels=1", "format=s32le",
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
            due = round((time.monotonic() - begin) * RATE)
            if not self._is_mute.is_set():
                with suppress(FileNotFoundError):  # no server has it
                    self._write(np.arange(n, due, dtype="<i4").tobytes())
            n = due

    def _write(self, frames: bytes) -> None:
        pipe = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)
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
