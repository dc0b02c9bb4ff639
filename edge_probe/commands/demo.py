"""``edge-probe demo``: the main job on real audio, checked against what was planted in it."""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.measure import cpu_s, peak_rss_mib, rss_mib

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle
    from edge_probe.classify import ChunkAnalyser, Event
    from edge_probe.source.files import AudioFile

DATA = DEMO_BUNDLE.parent

MIN_FOUND = 6
"""Planted sounds, of ten, that must be found for the demo to succeed."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One line of the scene's label file."""

    label: str
    start_s: float
    end_s: float

    def lasts_during(self, event: "Event") -> bool:
        """Whether it is heard at some time of a detection."""
        return event.start_s < self.end_s and event.end_s > self.start_s

    def meets(self, event: "Event") -> bool:
        """Whether a detection names this sound while it lasts."""
        return event.label.common_name == self.label and self.lasts_during(event)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``demo`` has no options of its own."""


def run(args: argparse.Namespace) -> int:
    """Show the bundle, classify the scene, compare with its labels, run the selftest."""
    from edge_probe.bundle import open_bundle, selftest
    from edge_probe.classify import ChunkAnalyser
    from edge_probe.source.files import AudioFile

    memory = [rss_mib()]
    bundle = open_bundle(DEMO_BUNDLE)
    memory.append(rss_mib())
    _show_bundle(bundle)
    passed = all(stage.passed for stage in selftest(bundle))
    print("selftest  " + ("passed: same numbers as its maker's machine" if passed else "FAILED"))
    analyser = ChunkAnalyser(bundle)
    planted = read_planted(DATA / "demo_scene.csv")
    with AudioFile(DATA / "demo_scene.ogg") as audio:
        duration_s = audio.n_samples / audio.sample_rate_hz
        _show_source(duration_s, len(planted))
        begin_s = cpu_s()
        events = sorted(_classify(analyser, audio), key=lambda event: event.start_s)
        spent_s = cpu_s() - begin_s
    memory.append(rss_mib())
    _show_events(planted, events)
    n_found = _show_comparison(planted, events)
    _show_cost(spent_s / duration_s, memory)
    _show_closing(len(bundle.labels))
    return 0 if passed and n_found >= MIN_FOUND else 1


def read_planted(path: Path) -> list[Planted]:
    """The true labels of the scene."""
    with path.open(newline="", encoding="utf-8") as table:
        return [
            Planted(row["label"], float(row["start_s"]), float(row["end_s"]))
            for row in csv.DictReader(table)
        ]


def _classify(analyser: "ChunkAnalyser", audio: "AudioFile") -> "list[Event]":
    from edge_probe.classify import Run, RunClassifier

    classifier = RunClassifier(analyser, Run(audio.name, audio.channel, audio.sample_rate_hz))
    events = [event for block in audio for event in classifier.push(block)]
    return events + classifier.finish()


def _show_bundle(bundle: "Bundle") -> None:
    from edge_probe.head import ProtobinHead

    head = bundle.head
    kernel = head.backend.name if isinstance(head, ProtobinHead) else "numpy"
    print(f"bundle    {bundle.id}")
    n_background = bundle.manifest.training["background_clips"]
    print(f"classes   {len(bundle.labels)}, taught beside {n_background} clips of background")
    print(f"tokens    {head.bits} bit; kernel {kernel}")


def _show_source(duration_s: float, n_planted: int) -> None:
    print(
        f"audio     {duration_s:.1f} s: {n_planted} ESC-10 clips (fold 4, not used in training),\n"
        "          mixed on purpose so that neighbours overlap; authors: ATTRIBUTION.md\n"
    )


def _show_events(planted: list[Planted], events: "list[Event]") -> None:
    print("start_s  end_s    band_hz  score  limit  label          overlaps with")
    for event in events:
        band = "-" if event.low_hz is None else f"{event.low_hz:.0f}-{event.high_hz:.0f}"
        name = event.label.common_name
        others = [p.label for p in planted if p.label != name and p.lasts_during(event)]
        print(
            f"{event.start_s:7.2f}{event.end_s:7.2f}{band:>11}{event.score:7.3f}"
            f"{_sigmoid(event.threshold):7.3f}  {name:<15}{', '.join(others)}".rstrip()
        )


def _sigmoid(logit: float) -> float:
    from math import exp

    return 1 / (1 + exp(-logit))


def _show_comparison(planted: list[Planted], events: "list[Event]") -> int:
    missed = [sound.label for sound in planted if not any(map(sound.meets, events))]
    extra = [
        f"{event.label.common_name} at {event.start_s:.1f} s"
        for event in events
        if not any(sound.meets(event) for sound in planted)
    ]
    n_found = len(planted) - len(missed)
    print(f"\nfound     {n_found} of {len(planted)} planted sounds (at least {MIN_FOUND} expected)")
    for name, items in (("missed", missed), ("extra", extra)):
        print(f"{name:<10}{len(items)}" + (f": {items[0]}" if items else ""))
        for item in items[1:]:
            print(f"{'':<13}{item}")
    return n_found


def _show_cost(cpu_per_s: float, memory: list[float | None]) -> None:
    print(f"\ncost      {cpu_per_s:.4f} CPU seconds per second of audio, one thread")
    runtime, head, encoder = memory
    peak = peak_rss_mib()
    if runtime is None or head is None or encoder is None or peak is None:
        print("memory    this system does not tell")
    else:
        print(
            f"memory    peak {peak:.1f} MiB: runtime {runtime:.1f}, head {head - runtime:.1f}, "
            f"encoder {peak - head:.1f}"
        )
    print("          No Raspberry Pi was measured for this version.")


def _show_closing(n_classes: int) -> None:
    print(f"""
This demo knows {n_classes} sounds. A closed set like this one may call other sounds
by one of its names; train with background clips of your own site.

next      edge-probe classify YOUR.wav
          edge-export fit CLIPS --out my_bundle   (needs: pip install .[export])
          edge-probe listen --bundle my_bundle""")
