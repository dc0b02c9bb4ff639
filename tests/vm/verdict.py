"""What the facts prove: a list of claims, each held against what was found."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCORE_TOLERANCE = 0.02
"""Tokens of two processors differ in their last bits; a component near zero may change its sign."""

TIME_TOLERANCE_MS = 1
"""Both are rounded to milliseconds, one from frames and the other from seconds."""

COST_TOLERANCE = 0.15


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of which the facts say whether it holds."""

    what: str
    holds: bool
    found: str


Facts = Mapping[str, Any]


def judge(facts: Facts) -> list[Claim]:
    """Every claim about the phases that were played."""
    judges = {
        "install": install, "listen": listen, "faults": faults, "power": power,
    }  # fmt: skip
    claims = []
    for name, phase in facts.items():
        if name in judges:
            claims += judges[name](phase)
    return claims


def as_json(claims: list[Claim]) -> list[dict[str, object]]:
    """For the result file."""
    return [asdict(claim) for claim in claims]


def install(facts: Facts) -> list[Claim]:
    """Offline, on a bare system."""
    missing = set(facts["not_there_before"])
    return [
        Claim("the package installs without network, pip and venv",
              facts["networks"] == ["lo"] and missing >= {"pip", "venv", "numpy", "onnxruntime"},
              f"networks {facts['networks']}, not there before {sorted(missing)}"),
    ]  # fmt: skip


def listen(facts: Facts) -> list[Claim]:
    """Up, recording, and hearing what the same file says elsewhere."""
    active = {unit: found["ActiveState"] for unit, found in facts["units"].items()}
    runs = facts["runs"]
    n_there = sum(run["detections_there"] for run in runs)
    differing = [row for run in runs for row in run["differ"]]
    unequal = [pair for pair in differing if not _same(*pair)]
    counts = [(run["detections_there"], run["detections_here"]) for run in runs]
    worst = max((run["worst_score"] for run in runs), default=1.0)
    return [
        Claim("both services come up by themselves", set(active.values()) == {"active"},
              f"{active}"),
        Claim("the first sample is safe on the disk",
              facts["first_durable_sample_s"] > 0,
              f"{facts['first_durable_sample_s']:.1f} s after the kernel began (emulated)"),
        Claim("recorded frames and gaps tile every stream, files and rows agree",
              not facts["ledger_problems"], f"{facts['recorded_s']:.0f} s recorded,"
              f" {len(facts['gaps'])} gaps, {facts['ledger_problems'] or 'no problem'}"),
        Claim("every chunk was classified", set(facts["chunks"]) == {"done"},
              f"{facts['chunks']}"),
        Claim("detections equal those of x86-64 in the same samples",
              n_there > 0 and not unequal and all(a == b for a, b in counts)
              and worst <= SCORE_TOLERANCE,
              f"{n_there} detections in {sum(run['seconds'] for run in runs):.0f} s;"
              f" there and here {counts}; labels and times differ in {len(unequal)};"
              f" scores differ by {worst:.2g} at most, allowed {SCORE_TOLERANCE:g}"),
        Claim("nothing listens to a network", facts["n_network_sockets"] == 0,
              f"{facts['n_network_sockets']} sockets"),
    ]  # fmt: skip


def _same(there: Facts, here: Facts) -> bool:
    """Whether two detections are one."""
    times = ("start_ms", "end_ms", "window_start_ms")
    return (
        all(there[name] == here[name] for name in ("label", "low_hz", "high_hz"))
        and all(abs(there[name] - here[name]) <= TIME_TOLERANCE_MS for name in times)
    )  # fmt: skip


def faults(facts: Facts) -> list[Claim]:
    """Hangs and a shortage of memory."""
    claims = [
        Claim(f"{name.replace('_', ' ')}: systemd notices, and it goes on",
              found["new_process"] and found["recorded_more_s"] > 0 and found["chunks_more"] > 0,
              f"watchdog {found['watchdog']}, active again {found['active_again_s']:.0f} s after"
              f" (emulated); {found['recorded_more_s']:.0f} s and {found['chunks_more']} chunks"
              " more by then")
        for name in ("recorder_hangs", "classifier_hangs")
        if (found := facts[name])
    ]  # fmt: skip
    starved = facts["classifier_out_of_memory"]
    return [
        *claims,
        Claim("the kernel kills a classifier without memory; the recorder does not notice",
              bool(starved["kernel"]) and starved["recorder_untouched"]
              and starved["recorded_more_s"] > 0 and starved["chunks_more"] > 0,
              f"{starved['kernel']}; {starved['recorded_more_s']:.0f} s more recorded"),
        *_ledger(facts, "the faults"),
    ]  # fmt: skip


def power(facts: Facts) -> list[Claim]:
    """Power cuts."""
    return [
        Claim("it records again by itself after each power cut", len(facts["cuts"]) > 0,
              f"{len(facts['cuts'])} cuts: {facts['cuts']}; {facts['file_system'][-1:]}"),
        *_ledger(facts, "the power cuts"),
    ]  # fmt: skip


def _ledger(facts: Facts, what: str) -> list[Claim]:
    return [
        Claim(f"nothing that was acknowledged before {what} is lost", not facts["lost"],
              f"{facts['lost'] or 'all there'}"),
        Claim(f"the ledger is whole after {what}, with the gap of each",
              not facts["ledger_problems"] and bool(facts["gaps"]),
              f"{facts['ledger_problems'] or 'whole'}; gaps (stream, frame, seconds, cause):"
              f" {facts['gaps']}"),
    ]  # fmt: skip
