"""Microphones as PortAudio sees them; the only module that imports sounddevice."""

from typing import Any

from edge_probe.clock import Clock
from edge_probe.errors import DeviceError
from edge_probe.source.ring import Ring

LATENCY_S = 0.5
"""Asked of the driver: what it buffers while this process does not get the processor."""

BLOCK_S = 0.1

FIRST_S = 5.0
"""A sound card may take so long to give its first block."""


def portaudio() -> Any:
    """The module sounddevice.

    Raises
    ------
    DeviceError
        It or PortAudio is not installed.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError(
            f"the package sounddevice is missing: {error}", hint="pip install sounddevice"
        ) from error
    except OSError as error:
        raise DeviceError(
            f"PortAudio, the library that talks to microphones, is not installed ({error})",
            hint="sudo apt install libportaudio2; files and pipes work without it",
        ) from error
    return sounddevice


def input_devices() -> list[dict[str, Any]]:
    """The microphones PortAudio knows: index, name, max_input_channels, default_samplerate.

    Raises
    ------
    DeviceError
        PortAudio is not installed or does not start.
    """
    sounddevice = portaudio()
    try:
        devices = sounddevice.query_devices()
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"PortAudio: {error}", hint="is the sound system running?") from error
    return [dict(device) for device in devices if device["max_input_channels"] > 0]


def find_device(name: str | None) -> dict[str, Any]:
    """The microphone of that name, of that number, or the system's first choice.

    Raises
    ------
    DeviceError
        No such microphone, or several match.
    """
    devices = input_devices()
    listed = "; ".join(f"{device['index']}: {device['name']}" for device in devices) or "none"
    if name is None:
        default = portaudio().default.device[0]
        matches = [device for device in devices if device["index"] == default] or devices[:1]
    else:
        matches = [d for d in devices if name in (d["name"], str(d["index"]))]
        matches = matches or [d for d in devices if name.lower() in d["name"].lower()]
    if len(matches) == 1:
        return matches[0]
    found = "several microphones match" if matches else "no such microphone"
    raise DeviceError(f"{name or 'default'}: {found}", hint=f"microphones here: {listed}")


def rescan() -> None:
    """Make PortAudio look for microphones again: its list is frozen otherwise.

    Closes every stream (sounddevice has no public call for it: issue 125 there).

    Raises
    ------
    DeviceError
        PortAudio does not start again; to be called once more later.
    """
    sounddevice = portaudio()
    try:
        if sounddevice._initialized:  # not after a call that failed
            sounddevice._terminate()
        sounddevice._initialize()
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"PortAudio: {error}", hint="is the sound system running?") from error


class InputStream:
    """A microphone that is open and fills a ring.

    Parameters
    ----------
    device : mapping
        As `find_device` returns it.
    ring : Ring
        Of frames of ``n_channels * sample_bytes``.
    clock : Clock
    rate_hz, n_channels : int
    sample_bytes : int
        2, 3 or 4: little-endian integers.

    Raises
    ------
    DeviceError
        It cannot be opened so.
    """

    def __init__(
        self,
        device: dict[str, Any],
        ring: Ring,
        clock: Clock,
        *,
        rate_hz: int,
        n_channels: int,
        sample_bytes: int,
    ) -> None:
        sounddevice = portaudio()
        self.ring = ring
        self._clock = clock
        self._opened_ns = clock.monotonic_ns()
        # Streams of sounddevice are cycles of references, kept until the garbage collector comes
        # by. Nothing large may hang on them: `close` takes the ring off.
        self._filled = filled = [ring]

        def callback(data: Any, _n_frames: int, _time: Any, flags: Any) -> None:
            """Copy, stamp and count: nothing here may wait, allocate much or write."""
            for open_ring in filled:
                open_ring.push(data, clock.monotonic_ns(), flags.input_overflow)

        try:
            self._stream = sounddevice.RawInputStream(
                device=device["index"], samplerate=rate_hz, channels=n_channels,
                dtype=f"int{8 * sample_bytes}", blocksize=round(BLOCK_S * rate_hz),
                latency=LATENCY_S, callback=callback,
            )  # fmt: skip
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            self._filled.clear()
            raise DeviceError(
                f"{device['name']}: cannot open {n_channels} channels of {8 * sample_bytes} bits "
                f"at {rate_hz} Hz: {error}",
                hint="edge-probe devices lists channels and rates",
            ) from error

    def lost(self, silent_s: float) -> str | None:
        """Why no more audio is to be expected, or None while all is well.

        Parameters
        ----------
        silent_s : float
            Without a block for so long the microphone is lost, whatever PortAudio believes.
        """
        if not self._stream.active:
            return "the stream ended by itself"
        last_ns = self.ring.last_stamp_ns
        since_s = (self._clock.monotonic_ns() - (last_ns or self._opened_ns)) * 1e-9
        if since_s > (silent_s if last_ns else max(silent_s, FIRST_S)):
            return f"no audio for {since_s:.1f} s"
        return None

    def close(self) -> None:
        """Stop and let go, also of a device that is gone; the ring keeps what came."""
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)
        self._filled.clear()
