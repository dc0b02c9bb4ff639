"""A whole recorder whose microphone is made-up noise: everything else in it is real.

``python -m edge_probe.budget.noise_station STATE BUNDLE RATE_HZ SEGMENT_S`` records into a new
folder until SIGTERM, or until whoever started it is gone. The first segment that closes becomes
FLAC, whatever the load, so that every process that stays with a recorder is there to be measured.
POSIX only.
"""

import logging
import os
import sys
import threading
from pathlib import Path

import numpy as np

from edge_probe.capture.recorder import Input, Opened, Wanted
from edge_probe.capture.segment import Format
from edge_probe.capture.writer import ring_for
from edge_probe.clock import Clock, SystemClock
from edge_probe.deployment.state import StateFolder
from edge_probe.disk.encoder import Abandoned, Encoder
from edge_probe.disk.room import Limits
from edge_probe.disk.sample import Design
from edge_probe.errors import DeviceError, EdgeProbeError
from edge_probe.health.identity import Device
from edge_probe.interrupt import Interrupted
from edge_probe.lock import hold
from edge_probe.log import never_wait
from edge_probe.source.portaudio import BLOCK_S, rescan
from edge_probe.source.ring import Ring
from edge_probe.station import Orders, Station

_log = logging.getLogger(__name__)

_LOOK_S = 1.0


class NoiseMicrophone(threading.Thread):
    """Gives the blocks of white noise that are due by the clock.

    Parameters
    ----------
    ring : Ring
    format_ : Format
        Of 16 bits.
    clock : Clock
    """

    def __init__(self, ring: Ring, format_: Format, clock: Clock) -> None:
        super().__init__(name="noise", daemon=True)
        self.ring = ring
        self._clock = clock
        noise = np.random.default_rng(0).normal(0, 1000, round(BLOCK_S * format_.rate_hz))
        self._block = np.repeat(noise.astype("<i2"), format_.n_channels).tobytes()
        self._closed = threading.Event()
        self._began_ns = clock.monotonic_ns()
        self.start()

    def run(self) -> None:
        """Until it is closed."""
        n_blocks = 0
        while not self._closed.wait(BLOCK_S):
            n_due = round((self._clock.monotonic_ns() - self._began_ns) * 1e-9 / BLOCK_S)
            for _ in range(n_due - n_blocks):
                self.ring.push(self._block, self._clock.monotonic_ns())
            n_blocks = max(n_blocks, n_due)

    def lost(self, _silent_s: float) -> str | None:
        """Never."""
        return None

    def close(self) -> None:
        """No more noise."""
        self._closed.set()
        self.join()


def open_noise(wanted: Wanted, clock: Clock) -> Opened:
    """In place of a microphone; PortAudio is loaded all the same, it costs memory."""
    try:
        rescan()
    except DeviceError as error:
        _log.warning("measured without PortAudio: %s", error.message)
    format_ = Format(wanted.rate_hz or 48_000, wanted.n_channels, wanted.sample_bytes)
    microphone: Input = NoiseMicrophone(ring_for(format_), format_, clock)
    return Opened(microphone, Device(0, "noise", 0, None), format_)


class FlacHelper(threading.Thread):
    """Has the process that encodes FLAC run, as a recorder does when it has time.

    Parameters
    ----------
    state : StateFolder
    """

    def __init__(self, state: StateFolder) -> None:
        super().__init__(name="flac", daemon=True)
        self._state = state
        self._ended = threading.Event()
        self.failed = False

    def run(self) -> None:
        """Encode the first segment; the process stays until the end."""
        encoder = Encoder()
        while not self._ended.wait(_LOOK_S):
            if segments := sorted(self._state.audio.glob("*.wav")):
                self._encode(encoder, segments[0])
                break
        self._ended.wait()
        encoder.stop()

    def _encode(self, encoder: Encoder, segment: Path) -> None:
        target = self._state.path / "trial.flac"
        try:
            encoder.encode(segment, target, (), self._ended.is_set)
        except Abandoned:
            return
        except EdgeProbeError as error:
            _log.error("FLAC: %s", error.message)
            self.failed = True

    def end(self) -> None:
        """End it, and its process."""
        self._ended.set()
        self.join()


def main() -> int:
    """Record noise until SIGTERM."""
    folder, bundle, rate_hz, segment_s = sys.argv[1:]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    never_wait()
    state = StateFolder(Path(folder))
    command = [sys.executable, "-m", "edge_probe", "run", folder, "--only", "classify",
               "--bundle", bundle, "--backlog", "600"]  # fmt: skip
    orders = Orders(
        Wanted(None, int(rate_hz), 1, 2, float(segment_s)), Limits("all", 2**40, 0),
        Design(0, 1.0, 0.01), flac=False, gain_db=None, private_margin_s=None, classifier=command,
        deployment_id=None,
    )  # fmt: skip
    helper, parent = FlacHelper(state), os.getppid()
    with hold(state.path), Interrupted() as interrupted:
        helper.start()
        try:
            station = Station(state, orders, SystemClock(), open_noise)
            station.run(lambda: interrupted() or helper.failed or os.getppid() != parent)
        finally:
            helper.end()
    return int(helper.failed)


if __name__ == "__main__":
    sys.exit(main())
