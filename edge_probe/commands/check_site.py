"""``edge-probe check-site``: half a minute of levels, then a list of what to look at."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import number
from edge_probe.commands.state import add_state

if TYPE_CHECKING:
    from edge_probe.alive.level import Block
    from edge_probe.alive.site import Point
    from edge_probe.capture.segment import Format
    from edge_probe.clock import Clock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``check-site``."""
    add_state(parser)
    parser.add_argument("--device", metavar="NAME", help="microphone to open when no recorder runs")
    parser.add_argument(
        "--seconds", type=number(2, 3600), default=30.0, metavar="S", help="(default %(default)g)"
    )
    parser.epilog = "exit code 0: all is well; 1: the list says what to look at"


def run(args: argparse.Namespace) -> int:
    """Listen to the recorder's file if one runs, else to the microphone itself; judge."""
    from edge_probe.alive import site
    from edge_probe.alive.report import look
    from edge_probe.clock import SystemClock

    clock = SystemClock()
    report = look(args.state, clock) if args.state.is_dir() else None
    if report and report.pid is not None:
        format_, points = _recorder(args.state, args.seconds, clock)
        points = [*site.report_points(report), *points]
    else:
        format_, points = _microphone(args.device, args.seconds, clock)
    trust = report.fresh.clock_trust if report and report.fresh else clock.trust()
    points = [*points, site.clock_point(trust), site.disk_point(report, args.state, format_)]
    if report:
        points.append(site.detection_point(report))
    print()
    for point in points:
        print(point)
    return 0 if all(point.hint is None for point in points) else 1


Found = tuple["Format | None", "Sequence[Point]"]


def _recorder(state: Path, seconds: float, clock: "Clock") -> Found:
    """Levels from what is being written."""
    from edge_probe.alive import site
    from edge_probe.alive.level import from_growing_file

    print("A recorder runs: levels are those of its file.")
    format_, points = _listen(from_growing_file(state, seconds), clock)
    return format_, [*points, *site.gain_points(site.gain_rows(state), [])]


def _microphone(device: str | None, seconds: float, clock: "Clock") -> Found:
    """Levels from the microphone, which nobody else uses."""
    from edge_probe.alive import site
    from edge_probe.alive.level import Block
    from edge_probe.capture.segment import Format
    from edge_probe.errors import DeviceError
    from edge_probe.source.microphone import Microphone

    try:
        microphone = Microphone(device, clock, duration_s=seconds)
    except DeviceError as error:
        return None, [site.Point("microphone", error.message, error.hint or "plug it in")]
    print(f"No recorder runs: levels are those of {microphone.name}.")
    format_ = Format(microphone.sample_rate_hz, microphone.n_channels, 2)

    def blocks() -> "Iterator[Block]":
        for frames, _ in microphone.frames():
            yield Block(format_, frames.astype("<i2", copy=False).tobytes())

    _, points = _listen(blocks(), clock)
    points = [*points, *_gain(microphone.name, clock)]
    if microphone.n_missing:
        text = f"{microphone.n_missing} frames are missing"
        points.append(site.Point("losses", text, "is the processor busy, is the USB hub good?"))
    return format_, points


def _listen(blocks: "Iterator[Block]", clock: "Clock") -> Found:
    """Draw a bar a second; judge all of it."""
    from edge_probe.alive import site
    from edge_probe.alive.level import Meter, bar, levels
    from edge_probe.errors import DeviceError, DeviceLostError
    from edge_probe.interrupt import until_interrupted

    meter = format_ = None
    points: list[site.Point] = []
    n_seconds = 0
    try:
        for block in until_interrupted(blocks):
            if meter is None or block.format != format_:
                format_, meter = block.format, Meter(block.format, clock)
            if level := meter.feed(block.frames):
                n_seconds += 1
                numbers = f"peak {level.peak_dbfs:6.1f} rms {level.rms_dbfs:6.1f} dB"
                print(f"{n_seconds:4d} s  {numbers} {bar(level)}", flush=True)
    except (DeviceError, DeviceLostError) as error:
        points.append(site.Point("microphone", error.message, error.hint or "plug it in"))
    rows, alarms = meter.whole.minute(clock.monotonic_ns()) if meter else ((), ())
    level = levels(rows)
    return format_, [*points, *site.sound_points(rows, alarms, level and level.peak_dbfs)]


def _gain(name: str, clock: "Clock") -> "Sequence[Point]":
    """The gain of the card that a PortAudio name tells."""
    from edge_probe.alive import site
    from edge_probe.health.identity import devices
    from edge_probe.health.mixer import Mixer

    (device,) = devices([(0, name)])
    if device.card is None:
        return []
    return site.gain_points(*Mixer(None).check(device, clock.monotonic_ns()))
