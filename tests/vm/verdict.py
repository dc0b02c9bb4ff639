"""What the facts prove: a list of claims, each held against what was found."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCORE_TOLERANCE = 0.02
"""Tokens of two processors differ in their last bits; a component near zero may change its sign."""

TIME_TOLERANCE_MS = 1
"""Both are rounded to milliseconds, one from frames and the other from seconds."""

COST_TOLERANCE = 0.15


OWNERS_PROGRAM = "Command /etc/edge-probe/send is not executable"
"""What edge-probe-send.service would run; without it the unit is skipped."""


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
        "user_mode": user_mode, "install": install, "listen": listen, "faults": faults,
        "power": power, "update": update, "cost": cost, "estimates": estimates,
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
    return [
        Claim("the package installs without network, on a system without pip and our libraries",
              facts["networks"] == ["lo"] and not facts["there_before"],
              f"{facts['version']} with {facts['python']}; networks {facts['networks']};"
              f" there before: {facts['there_before'] or 'nothing'}"),
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
        Claim("the first sample is safe on the disk, and only then the recorder says READY",
              0 < facts["first_durable_sample_s"] <= facts["ready_s"],
              f"synced {facts['first_durable_sample_s']:.1f} s, READY {facts['ready_s']:.1f} s"
              " after the kernel began, in the first boot, which installs the bundle (emulated)"),
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
        Claim("it needs no network and listens to none",
              facts["networks"] == ["lo"] and facts["n_network_sockets"] == 0,
              f"networks {facts['networks']}, {facts['n_network_sockets']} sockets"),
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
              f"cut after {facts['cuts']}; first durable sample"
              f" {', '.join(f'{s:.1f}' for s in facts['first_durable_sample_s'])} s after the"
              f" kernel began (emulated); {facts['file_system'][-1:]}"),
        *_ledger(facts, "the power cuts"),
    ]  # fmt: skip


def update(facts: Facts) -> list[Claim]:
    """In, back, and out."""
    by_command, slow, by_stick = facts["by_command"], facts["too_slow"], facts["by_stick"]
    good = by_command["after_power_cut"]["good"]
    results = [json.loads(text) for text in by_stick["results"].values()]
    refused = facts["refused"]
    return [
        Claim("an installed bundle is tried and confirmed, over a power cut in its trial",
              by_command["status"] == 0 and good > facts["staged"]["good"],
              f"release {facts['staged']['good']} to {good}: {by_command['after_power_cut']}"),
        Claim("a bundle that is too slow is taken back by its trial, and the old one works on",
              slow["status"] == 0 and slow["afterwards"]["good"] == good
              and slow["afterwards"]["last"][1] == "refused"
              and slow["recorded_meanwhile_s"] > 0,
              f"{slow['afterwards']}"),
        Claim("a bundle on a USB stick is installed and confirmed; the stick says so",
              by_stick["settled"]["good"] > good and len(results) == 1,
              f"{by_stick['settled']}; {by_stick['results']}"),
        Claim("an older release, a stranger's bundle and one with the development key are refused",
              len(refused) == 3 and all(one["status"] for one in refused.values()),
              f"{ {name: one['said'][:1] for name, one in refused.items()} }"),
        Claim("it records and classifies after all that",
              facts["at_work"]["recorded_more_s"] > 0 and facts["at_work"]["chunks_more"] > 0,
              f"{facts['at_work']}"),
    ]  # fmt: skip


def estimates(facts: Facts) -> list[Claim]:
    """Of memory and flash."""
    return [
        Claim(f"{name} is estimated within {COST_TOLERANCE:.0%}",
              abs(facts[name]["middle_error"]) <= COST_TOLERANCE,
              f"estimate {facts[name]['estimate']}, measured {facts[name]['measured']} MiB"
              f" ({facts[name]['tag']}), middle {facts[name]['middle_error']:+.1%}")
        for name in ("memory_ours", "flash_runtime", "flash_bundle")
    ]  # fmt: skip


def cost(facts: Facts) -> list[Claim]:
    """Units."""
    limits = {"recorder": 1.0, "classifier": 1.0, "send": 1.5}
    exposure = {f"edge-probe-{name}.service": limit for name, limit in limits.items()}
    return [
        Claim("systemd-analyze security: recorder and classifier at most 1.0, send 1.5",
              all(facts["exposure"][unit] <= limit for unit, limit in exposure.items()),
              f"{facts['exposure']}"),
        Claim("systemd-analyze verify finds nothing but the owner's program missing",
              all(OWNERS_PROGRAM in line for line in facts["verify"]),
              f"{facts['verify'] or 'nothing'}"),
        Claim("the doctor finds nothing that keeps it from working",
              facts["doctor"]["status"] == 0,
              f"{[line for line in facts['doctor']['lines'] if not line.startswith('ok')]}"),
    ]  # fmt: skip


def user_mode(facts: Facts) -> list[Claim]:
    """Another processor."""
    counts = facts["counts"]
    return [
        Claim("conformance vectors hold on AArch64, with every kernel",
              facts["selftest_status"] == 0 and len(facts["selftest"]) > 0,
              f"{len(facts['selftest'])} stages"),
        Claim("tests of the device side pass on AArch64",
              facts["tests_status"] == 0 and counts.get("passed", 0) > 0,
              f"{counts}"),
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
