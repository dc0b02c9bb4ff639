"""A sound card in virtual time, for whoever opens it through PortAudio."""

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from support.numbered_source import VirtualClock

from edge_probe.source import microphone
from edge_probe.source.microphone import Microphone

Script = Callable[["ScriptedCard"], Iterator[None]]


class ScriptedCard:
    """Delivers noise as its script says; each wait of the listener lets it run to its next yield.

    When the script is over, the stream ends by itself. ``also`` is given every block, its time and
    whether a loss was reported; ``aside`` is called at each wait.
    """

    def __init__(self, rate_hz: int, n_channels: int, script: Script) -> None:
        self.clock = VirtualClock()
        self.rate_hz, self.n_channels = rate_hz, n_channels
        self.also: Callable[[bytes, int, bool], None] = lambda *_: None
        self.aside: Callable[[], object] = lambda: None
        self.active = True
        self.n_frames = 0
        """Those lost on the way included."""
        self.delivered: list[np.ndarray] = []
        self._script = script(self)
        self._noise = np.random.default_rng(0)
        self._base_ns = self.clock.now_ns

    def listener(self, patch: pytest.MonkeyPatch, **options: Any) -> Microphone:
        """Put the card in the place of PortAudio."""
        devices = [{"index": 0, "name": "card", "max_input_channels": self.n_channels,
                    "default_samplerate": self.rate_hz}]  # fmt: skip
        sounddevice = SimpleNamespace(
            query_devices=lambda: devices, default=SimpleNamespace(device=(0, 0)),
            PortAudioError=RuntimeError, RawInputStream=self._open,
        )  # fmt: skip
        patch.setitem(sys.modules, "sounddevice", sounddevice)
        patch.setattr(microphone, "sleep", self._wait)
        return Microphone(None, self.clock, n_channels=self.n_channels, channel=0, **options)

    def deliver(self, *blocks: int, late_s: float = 0, flagged: bool = False) -> None:
        """Blocks of so many frames come, each when it is due, or later."""
        for n_frames in blocks:
            self.lose(n_frames)
            shape = n_frames, self.n_channels
            block = self._noise.integers(-(2**15), 2**15, shape).astype("<i2")
            self.delivered.append(block)
            self.clock.now_ns += round(late_s * 1e9)
            self._callback(block.tobytes(), n_frames, None, SimpleNamespace(input_overflow=flagged))
            self.also(block.tobytes(), self.clock.now_ns, flagged)

    def lose(self, n_frames: int) -> None:
        """Time passes for so many frames; they do not come."""
        self.n_frames += n_frames
        due_ns = self._base_ns + round(self.n_frames / self.rate_hz * 1e9)
        self.clock.now_ns = max(self.clock.now_ns, due_ns)

    def rest(self, seconds: float) -> None:
        """Nothing is recorded for a while."""
        self._base_ns += round(seconds * 1e9)
        self.lose(0)

    def _wait(self, _seconds: float) -> None:
        if next(self._script, self) is self:
            self.active = False
        self.aside()

    def _open(self, *, callback: Callable[..., None], **options: Any) -> Self:
        assert (options["samplerate"], options["channels"], options["dtype"]) == (
            self.rate_hz, self.n_channels, "int16",
        )  # fmt: skip
        self._callback = callback
        return self

    def start(self) -> None:
        pass

    def abort(self, ignore_errors: bool) -> None:
        pass

    def close(self, ignore_errors: bool) -> None:
        pass
