"""``edge-probe devices``: the microphones of this machine."""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``devices``."""
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """List name, channels and own sample rate of every input device."""
    from edge_probe.source.portaudio import input_devices

    devices = input_devices()
    for device in devices:
        fields = {
            "index": device["index"],
            "name": device["name"],
            "channels": device["max_input_channels"],
            "sample_rate_hz": int(device["default_samplerate"]),
        }
        if args.json:
            print(json.dumps(fields, ensure_ascii=False))
        else:
            print("{index:>3}  {sample_rate_hz:>6} Hz  {channels:>3} ch  {name}".format(**fields))
    if not devices and not args.json:
        print("no microphone found; is one plugged in, and may this user open it (group audio)?")
    return 0
