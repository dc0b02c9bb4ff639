"""What a bundle will cost a board, before there is a board."""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import edge_probe
from edge_probe.budget import writes
from edge_probe.budget.figure import Figure, Sheet
from edge_probe.budget.installed import MIB, bundle_bytes
from edge_probe.budget.trial import Trial
from edge_probe.bundle import Bundle
from edge_probe.capture.segment import Format
from edge_probe.capture.writer import ring_for
from edge_probe.disk.plan import Span
from edge_probe.head import PrototypeHead
from firmware_tools.profile import DeviceProfile
from firmware_tools.speed import encoder_s, head_s
from firmware_tools.wheels import source_bytes

NO_BOARD = "No Raspberry Pi was measured for this version."

_OVERHEAD_RATE_HZ = 44_100
"""Native rate at which the overhead of `runtime.toml` was measured."""


@cache
def runtime() -> dict[str, Any]:
    """Figures of the runtime itself."""
    with Path(__file__).with_name("runtime.toml").open("rb") as file:
        return tomllib.load(file)


def estimate(bundle: Bundle, trial: Trial, profile: DeviceProfile, rate_hz: int) -> Sheet:
    """All rows.

    Parameters
    ----------
    bundle : Bundle
    trial : Trial
        Of this bundle, on this machine.
    profile : DeviceProfile
    rate_hz : int
        Of the microphone; one channel, 16 bits.
    """
    card = flash(bundle, profile)
    installed_gb = sum(figure.high for figure in card) * MIB / 1e9
    room_gb = profile.card_gb - profile.system_gb.high - installed_gb
    day = writes.day_of(rate_hz, room_gb * 1e9 - writes.FLOOR_BYTES)
    amplification = Span(*runtime()["writes"]["bytes_per_audio_byte"])
    basis = f"{amplification.low:g} to {amplification.high:g} bytes for a byte of audio (measured)"
    figures = [
        *card, *memory(trial, profile, rate_hz), *time(bundle, trial, profile, rate_hz),
        writes.written(amplification, rate_hz, day, "computed", basis), writes.full_after(day),
    ]  # fmt: skip
    notes = [f"a card of {profile.card_gb:g} GB"]
    if profile.power_w is not None:
        notes.append(f"power: {profile.power_w:g} W, typical for the bare board (reported)")
    return Sheet.of("estimate", bundle.id, profile.key, figures, [*notes, NO_BOARD])


def flash(bundle: Bundle, profile: DeviceProfile) -> Sequence[Figure]:
    """On the card."""
    packages = runtime()["packages_mib"][profile.architecture]
    ours = source_bytes(Path(edge_probe.__file__).parent) / MIB
    own = bundle_bytes(bundle.path) / MIB
    return [
        _exact("flash_runtime", packages + ours, "wheels for Python 3.11, compiled, whole blocks"),
        _exact("flash_bundle", own, "its files, whole blocks"),
    ]


def memory(trial: Trial, profile: DeviceProfile, rate_hz: int) -> Sequence[Figure]:
    """Of our processes and of the system."""
    known, spans = runtime()["memory_mib"], runtime()["memory_span"][profile.architecture]
    format_ = Format(rate_hz, 1, 2)
    ring = ring_for(format_).n_frames * format_.frame_bytes / MIB
    anonymous = {
        "memory_recorder": (known["recorder"] + ring, f"ring for {rate_hz} Hz: {ring:.1f} MiB"),
        "memory_classifier": (
            trial.anonymous_bytes / MIB + known["classifier_more"], "trial of the bundle, here",
        ),
        "memory_helpers": (known["helpers"], "the process that encodes FLAC"),
    }  # fmt: skip
    figures = [
        _scaled(name, mib, spans["anonymous"], f"anonymous; {basis}")
        for name, (mib, basis) in anonymous.items()
    ]
    files = trial.file_bytes / MIB + known["files_more"]
    figures.append(_scaled("memory_files", files, spans["files"], "code and mapped weights"))
    low, high = sum(one.low for one in figures), sum(one.high for one in figures)
    figures.append(Figure("memory_ours", low, high, "extrapolated", "the four above"))
    low, high = profile.system_mib
    figures.append(Figure("memory_system", low, high, "extrapolated", "firmware, kernel, system"))
    return figures


def time(bundle: Bundle, trial: Trial, profile: DeviceProfile, rate_hz: int) -> Sequence[Figure]:
    """For a chunk; the recorder uses one core."""
    chunk_s = bundle.encoder.chunk_s
    rest = _rest_s(bundle, profile, rate_hz)
    one = _sum(encoder_s(trial.operations, profile, 1), rest)
    wide = _sum(encoder_s(trial.operations, profile, profile.cores), rest)
    n_million = sum(operation.n_macs for operation in trial.operations) / 1e6
    clock = "-".join(dict.fromkeys(f"{ghz:g}" for ghz in profile.clock_ghz))
    cores = f"encoder on {profile.cores} cores of {profile.core} at {clock} GHz"
    factor = Span(one.low / chunk_s, one.high / chunk_s)
    rows = [
        ("chunk_one_core", one, f"{n_million:.1f} million multiplications for {chunk_s:g} s"),
        ("chunk_all_cores", wide, f"{cores}; the recorder uses one"),
        ("real_time_factor", factor, "one core over the length of a chunk"),
    ]
    return [Figure(name, ends.low, ends.high, "extrapolated", why) for name, ends, why in rows]


def _rest_s(bundle: Bundle, profile: DeviceProfile, rate_hz: int) -> Span:
    """What is not the encoder: resampling, the head, Python."""
    overhead = runtime()["overhead"]
    audio_s = bundle.encoder.chunk_s * max(1.0, rate_hz / _OVERHEAD_RATE_HZ)
    there_s = overhead["chunk_s"] + overhead["per_audio_s"] * audio_s
    slower = profile.python_slowdown
    return _sum(
        head_s(*head_work(bundle), profile), Span(there_s * slower.low, there_s * slower.high)
    )


def _sum(one: Span, other: Span) -> Span:
    return Span(one.low + other.low, one.high + other.high)


def head_work(bundle: Bundle) -> tuple[int, int | None]:
    """Multiplications of the head for a chunk, and the bits of a digit (None: floats)."""
    head, grid = bundle.head, bundle.encoder.grid
    if not isinstance(head, PrototypeHead):
        return grid.n_tokens * grid.n_dims, None
    spec = bundle.manifest.head
    n_macs = spec.n_prototypes * grid.n_tokens * grid.n_dims * spec.n_thresholds
    return n_macs, spec.token_bits if isinstance(spec.token_bits, int) else None


def _exact(name: str, value: float, basis: str) -> Figure:
    return Figure(name, value, value, "computed", basis)


def _scaled(name: str, value: float, span: Sequence[float], basis: str) -> Figure:
    low, high = span
    return Figure(name, value * low, value * high, "extrapolated", basis)
