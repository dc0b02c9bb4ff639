"""What there is to say about a head and its decisions, as JSON and as Markdown."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_probe.bundle import Bundle
from edge_probe.errors import EdgeProbeError
from export.decisions import Decision, WindowTally
from export.picture import evidence_figure, save
from export.prototypes import MAX_CHANGE, UNUSED, PrototypeReport, different_bits

N_LISTED = 20
"""Pairs and groups shown in Markdown; JSON has all."""

Facts = dict[str, Any]


class DiagnosisError(EdgeProbeError):
    """A diagnosis that cannot be made, or whose folder is taken."""


def prepare_folder(folder: Path) -> None:
    """Make the folder of a diagnosis; pictures of two bundles never get mixed.

    Raises
    ------
    DiagnosisError
        It holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DiagnosisError(
            f"{folder}: exists and is not an empty folder",
            hint="name a new folder; a diagnosis never overwrites anything",
        )
    folder.mkdir(parents=True, exist_ok=True)


def write_pictures(
    folder: Path,
    bundle: Bundle,
    prototypes: PrototypeReport | None,
    decisions: Sequence[Decision],
) -> list[str]:
    """Draw every decision.

    Returns
    -------
    list of str
        File names, in the order of the decisions.
    """
    names: list[str] = []
    owners = None if prototypes is None else prototypes.owners
    for decision in decisions:
        words = re.findall(r"[a-z0-9]+", decision.event.label.common_name.lower())
        number = f"{len(names) + 1:02d}"
        names.append("_".join([number, *words])[:60] + ".png")
        save(evidence_figure(decision, bundle, owners), folder / names[-1])
    return names


def write_report(
    folder: Path,
    bundle: Bundle,
    prototypes: PrototypeReport | None,
    tally: WindowTally,
    decisions: Sequence[tuple[Decision, str]],
) -> None:
    """Write ``report.json`` and ``report.md``.

    Parameters
    ----------
    folder : Path
    bundle : Bundle
    prototypes : PrototypeReport, optional
        None for a head that has none.
    tally : WindowTally
        Of all audio that was heard.
    decisions : sequence of (Decision, name of its picture)
    """
    facts: Facts = {"bundle": bundle.id}
    if prototypes is not None:
        facts["prototypes"] = prototype_facts(prototypes, bundle)
    if tally.n_windows:
        facts["n_windows"] = tally.n_windows
        facts["classes"] = class_facts(bundle, tally)
        facts["decisions"] = [decision_facts(each, picture) for each, picture in decisions]
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(_markdown(facts), encoding="utf-8")


def prototype_facts(report: PrototypeReport, bundle: Bundle) -> Facts:
    """The state of the prototypes in plain types."""
    pruning = report.pruning
    return {
        "n_prototypes": report.n_prototypes,
        "n_dims": report.n_dims,
        "binary": report.binary,
        "copies": [list(group) for group in report.copies],
        "near_cosine": report.near_cosine,
        "chance_cosine": report.chance_cosine,
        "close_pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "mirrored": pair.mirrored,
                "bits_different": pair.n_different(report.n_dims) if report.binary else None,
                "cosine": round(pair.cosine, 4),
            }
            for pair in report.close
        ],
        "spread_windows": report.spread_windows,
        "share": [float(f"{share:.3g}") for share in report.share],
        "unused": list(report.unused),
        "prototypes_of_class": {
            label.text: np.flatnonzero(report.owners == index).tolist()
            for index, label in enumerate(bundle.labels)
        },
        "pruning": {
            "removable": list(pruning.removable),
            "max_logit_change": pruning.max_change,
            "mergeable": [list(pair) for pair in pruning.mergeable],
            "saved_bytes": pruning.saved_bytes,
        },
    }


def class_facts(bundle: Bundle, tally: WindowTally) -> list[Facts]:
    """The highest logit of each class and what was missing, the nearest to its threshold first."""
    margin = tally.best_logits - bundle.threshold_on
    return [
        {
            "label": bundle.labels[index].text,
            "best_logit": float(tally.best_logits[index]),
            "threshold": float(bundle.threshold_on[index]),
        }
        for index in np.argsort(-margin, kind="stable")
    ]


def decision_facts(decision: Decision, picture: str) -> Facts:
    """A decision and its reasons in plain types."""
    event = decision.event
    return {
        "file": str(decision.heard.path),
        "channel": decision.heard.channel,
        "label": event.label.text,
        "start_s": event.start_s,
        "end_s": event.end_s,
        "window_start_s": event.window_start_s,
        "logit": event.logit,
        "threshold": event.threshold,
        "baseline": None if decision.contributions is None else decision.baseline,
        "picture": picture,
        "evidence": [
            {
                "start_s": place.box.start_s,
                "end_s": place.box.end_s,
                "low_hz": place.box.low_hz,
                "high_hz": place.box.high_hz,
                "share": place.share,
                "prototypes": list(place.prototypes),
                "prototype_shares": list(place.shares),
            }
            for place in decision.places
        ],
    }


def summary(report: PrototypeReport) -> str:
    """The state of the prototypes in one line."""
    pruning, pairs = report.pruning, report.close
    near = sum(1 for pair in pairs if pair.cosine >= report.near_cosine)
    line = (
        f"{report.n_prototypes}: {sum(len(group) - 1 for group in report.copies)} copies, "
        f"{near} near copies, {len(report.unused)} unused"
    )
    if not pruning.saved_bytes:
        return f"{line}; nothing to prune"
    n_less = len(pruning.removable) + len(pruning.mergeable)
    return (
        f"{line}; {n_less} could go, which saves {pruning.saved_bytes} bytes and moves no logit "
        f"by more than {pruning.max_change:.2g}"
    )


def _markdown(facts: Facts) -> str:
    lines = [f"# Diagnosis of {facts['bundle']}", ""]
    if "prototypes" in facts:
        lines += _prototype_lines(facts["prototypes"])
    if "classes" in facts:
        lines += _decision_lines(facts)
    return "\n".join(lines)


def _prototype_lines(facts: Facts) -> list[str]:
    pairs, pruning = facts["close_pairs"], facts["pruning"]
    spread = (
        f"the spread of its score over {facts['spread_windows']} windows"
        if facts["spread_windows"]
        else "a spread of its score that is taken as equal for all"
    )
    lines = [
        "## Prototypes", "",
        f"{facts['n_prototypes']} prototypes of {facts['n_dims']} "
        f"{'bits' if facts['binary'] else 'floats'}.", "",
        f"* **Copies** (all equal): {_some([_numbers(group) for group in facts['copies']])}.",
        f"* {_limits(facts)}: {len(pairs)} pairs. A mirrored pair says the opposite of each other; "
        "neither can replace the other.",
        f"* **Unused** (weights times {spread}, at most {UNUSED:.0%} of the largest): "
        f"{_some([str(m) for m in facts['unused']])}.",
        f"* **Could be pruned**: {len(pruning['removable'])} unused ones, their usual part moved "
        f"into the bias, which moves no logit by more than {pruning['max_logit_change']:.2g} "
        f"whatever is heard (limit {MAX_CHANGE}), and {len(pruning['mergeable'])} copies, whose "
        f"weights are added to those of the prototype that stays: {pruning['saved_bytes']} bytes.",
        "",
    ]  # fmt: skip
    if pairs:
        lines += ["| prototype | nearest | bits that differ | cosine |", "|---|---|---|---|"]
        lines += [
            f"| {pair['first']} | {pair['second']}{' (mirrored)' if pair['mirrored'] else ''} "
            f"| {pair['bits_different'] if facts['binary'] else ''} | {pair['cosine']:.2f} |"
            for pair in pairs[:N_LISTED]
        ]
        lines += ["", *_left_out(len(pairs) - N_LISTED, "pairs")]
    lines += ["| class | prototypes that speak most for it |", "|---|---|"]
    lines += [
        f"| {_cell(label)} | {len(members)}: {_some([str(m) for m in members])} |"
        for label, members in facts["prototypes_of_class"].items()
    ]
    return [*lines, ""]


def _limits(facts: Facts) -> str:
    """What makes a pair worth a line."""
    cosines = {
        "**Closer than chance explains**, as those that were taught the same sounds often are":
        facts["chance_cosine"],
        "**near copies**": facts["near_cosine"],
    }  # fmt: skip
    found = []
    for name, cosine in cosines.items():
        if cosine is not None:
            bits = f", {different_bits(cosine, facts['n_dims'])} different bits or fewer"
            found.append(f"{name} (cosine {cosine:.2f} or more{bits if facts['binary'] else ''})")
    return ", or ".join(found)


def _decision_lines(facts: Facts) -> list[str]:
    lines = [f"## Decisions on {facts['n_windows']} windows", ""]
    if not facts["decisions"]:
        lines += ["Nothing was detected.", ""]
    for each in facts["decisions"]:
        lines += [
            f"### {each['label']}, {each['start_s']:.2f} to {each['end_s']:.2f} s", "",
            f"`{each['file']}`, channel {each['channel']}: logit {each['logit']:.2f}, "
            f"threshold {each['threshold']:.2f}.", "",
            f"![spectrogram with boxes]({each['picture']})", "",
        ]  # fmt: skip
    lines += ["### How near each class came", ""]
    lines += ["| class | highest logit | threshold | missing |", "|---|---|---|---|"]
    for each in facts["classes"]:
        missing = max(0.0, each["threshold"] - each["best_logit"])
        lines.append(
            f"| {_cell(each['label'])} | {each['best_logit']:.2f} | {each['threshold']:.2f} "
            f"| {missing:.2f} |"
        )
    return [*lines, ""]


def _numbers(group: list[int]) -> str:
    return " = ".join(map(str, group))


def _some(items: list[str]) -> str:
    """As many as fit a line."""
    if not items:
        return "none"
    more = f" and {len(items) - N_LISTED} more" if len(items) > N_LISTED else ""
    return ", ".join(items[:N_LISTED]) + more


def _left_out(n: int, what: str) -> list[str]:
    return [f"{n} more {what} stand in `report.json`.", ""] if n > 0 else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
