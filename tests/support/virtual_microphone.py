"""A real PortAudio device without a sound card: the monitor of a PulseAudio null sink."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np

NEEDED = ("pulseaudio", "pactl", "paplay")

ALSA = """
pcm.fieldmic {{
    type pulse
    device "{source}"
    hint {{ show on
           description "virtual field microphone" }}
}}
"""


class VirtualMicrophone:
    """A PulseAudio server of its own; ``environment`` makes PortAudio see its microphone."""

    name = "fieldmic"
    source = "field.monitor"
    server = """
load-module module-native-protocol-unix
load-module module-null-sink sink_name=field rate={rate} channels=1 format=s16le
"""

    def __init__(self, folder: Path, rate: int) -> None:
        run = folder / "run"
        run.mkdir(mode=0o700)
        (folder / ".asoundrc").write_text(ALSA.format(source=self.source))
        script = folder / "server.pa"
        script.write_text(self.server.format(rate=rate))
        self.environment = {
            **os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(run),
            "PULSE_RUNTIME_PATH": str(run / "pulse"),
        }  # fmt: skip
        self._log = (folder / "server.log").open("wb")
        self._script = script
        self.plug()

    def plug(self) -> None:
        """Start the server; again after `unplug`."""
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "-F", str(self._script), "--exit-idle-time=-1", "--daemonize=no"],
            env=self.environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._wait()

    @staticmethod
    def missing() -> str | None:
        """What this machine lacks for it, or None."""
        absent = [tool for tool in NEEDED if shutil.which(tool) is None]
        return f"needs {', '.join(absent)} (Debian: pulseaudio-utils)" if absent else None

    def _wait(self) -> None:
        for _ in range(100):
            done = subprocess.run(
                ["pactl", "info"], env=self.environment, capture_output=True, check=False
            )
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError("pulseaudio did not start")

    def play(self, wav: Path, latency_ms: int = 20) -> "subprocess.Popen[bytes]":
        """Play a WAV file into the microphone in real time; returns at once.

        A player on a busy machine needs more latency, or silence comes in between.
        """
        return subprocess.Popen(
            ["paplay", "--device=field", f"--latency-msec={latency_ms}", "--process-time-msec=5",
             str(wav)],
            env=self.environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def unplug(self) -> None:
        """End the server as a crash would."""
        self._server.kill()
        self._server.wait()

    def close(self) -> None:
        """End the server."""
        if self._server.poll() is None:
            self._server.terminate()
            self._server.wait(timeout=10)
        self._log.close()


def first_sample(part: np.ndarray, whole: np.ndarray) -> int:
    """Where a part begins in a recording: where they correlate best."""
    size = 1 << (len(whole) + len(part)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(whole, size) * np.fft.rfft(part, size).conj())
    return int(likeness.argmax())
