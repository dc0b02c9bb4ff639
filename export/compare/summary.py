"""From rows of single seeds to a table, and to what validation would deploy."""

from collections.abc import Sequence
from itertools import groupby
from math import hypot, inf, sqrt
from statistics import mean, stdev
from typing import Any

import numpy as np
from scipy.stats import norm, t

from export.compare.measure import Row
from export.precision import LINEAR_PROBE, LOSS_BUDGET, choose

FLOAT_HEADS = ("protobin", "protobin-offset")
BINARY_HEAD = "protobin-offset"
LINEAR = "linear-mean"

CERTAINTY = 0.99
"""That a chosen precision keeps the budget, for each choice: a comparison makes dozens of them, and
each is a promise."""

_PLACE = ("data", "encoder", "prototypes_per_class")
_ENTRY = ("data", "encoder", "head", "prototypes_per_class", "bits", "layer")
_SAME = (
    "encoder_bytes", "n_dims", "n_parameters", "prototype_bytes", "linear_bytes", "trial",
)  # fmt: skip
_AVERAGED = ("validation", "test", "auroc", "top_1", "low", "high")


def table(rows: Sequence[Row]) -> list[Row]:
    """One line per data set, encoder, head, J, precision and linear layer.

    Figures in percent are means over seeds, ``*_sd`` their standard deviation; ``delta`` is the
    test mAP above that of the linear layer on the mean token; ``parity`` the worst of them;
    ``validation_resampled`` are those of the first seed.
    """
    lines: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        lines.setdefault(tuple(row[key] for key in _ENTRY), {"of": []})["of"].append(row)
    result = []
    for key, line in lines.items():
        of = line["of"]
        entry: Row = dict(zip(_ENTRY, key, strict=True)) | {name: of[0][name] for name in _SAME}
        entry["n_seeds"] = len(of)
        entry["validation_by_seed"] = {row["seed"]: row["validation"] for row in of}
        if "validation_resampled" in of[0]:
            entry["validation_resampled"] = of[0]["validation_resampled"]
        for name in _AVERAGED:
            values = [row[name] for row in of if row[name] is not None]
            entry[name] = round(mean(values), 3) if values else None
        for name in ("validation", "test"):
            values = [row[name] for row in of]
            entry[f"{name}_sd"] = round(stdev(values), 3) if len(values) > 1 else None
        checks = [row["parity"] for row in of if row["parity"] is not None]
        entry["parity"] = None
        if checks:
            passed = all(check["passed"] for check in checks)
            entry["parity"] = {"passed": passed, "error": max(check["error"] for check in checks)}
        result.append(entry)
    _add_deltas(result)
    return result


def _add_deltas(entries: Sequence[Row]) -> None:
    probes = _probes(entries)
    for entry in entries:
        probe = probes.get((entry["data"], entry["encoder"]))
        entry["delta"] = None if probe is None else _difference(entry, probe)


def _probes(entries: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """The linear probe of each data set and encoder: one, whatever J."""
    return {(e["data"], e["encoder"]): e for e in entries if e["head"] == LINEAR}


def choices(entries: Sequence[Row], budget: float = LOSS_BUDGET) -> list[Row]:
    """What validation would deploy for each data set, encoder and J, and what the test says of it.

    The float head is the paper's or ours, whichever validation prefers; the precision is
    `export.precision.choose`'s, and must keep the budget beyond what seeds and clips leave open
    (`_doubt`). Only then are test figures looked at.
    """
    result, probes = [], _probes(entries)
    for place, group in groupby(sorted(entries, key=_place), key=_place):
        of = {(e["head"], e["bits"]): e for e in group if e["layer"] != "int8-sparse"
              and (e["layer"] == "int8" or e["head"] not in FLOAT_HEADS)}  # fmt: skip
        floats = [of[head, "float"] for head in FLOAT_HEADS if (head, "float") in of]
        if not floats:
            continue
        best = max(floats, key=lambda entry: entry["validation"])
        candidates = {"float": best} | {
            bits: of[best["head"], bits] for bits in ("8", "4") if (best["head"], bits) in of
        }
        if (BINARY_HEAD, "1") in of:
            candidates["1"] = of[BINARY_HEAD, "1"]
        judged = {name: entry["validation"] for name, entry in candidates.items()}
        doubt = {name: _doubt(best, entry) for name, entry in candidates.items()}
        prototypes = choose(judged, budget, doubt)
        line = dict(zip(_PLACE, place, strict=True)) | {
            "float_head": best["head"],
            "chosen_precision": prototypes.name,
            "chosen": candidates[prototypes.name]["test"],
            "chosen_minus_float": _difference(candidates[prototypes.name], best),
            "validation_loss": {
                name: {"measured": round(best["validation"] - judged[name], 3),
                       "doubt": None if doubt[name] == inf else round(doubt[name], 3)}
                for name in candidates if name != "float"
            },
        }  # fmt: skip
        if "1" in candidates:
            line["binary_minus_float"] = _difference(candidates["1"], best)
        if probe := probes.get(place[:2]):
            line["linear"] = probe["test"]
            line["chosen_minus_linear"] = _difference(candidates[prototypes.name], probe)
            line["deployed"] = choose(
                judged | {LINEAR_PROBE: probe["validation"]}, budget, doubt
            ).name
        result.append(line)
    return result


def _doubt(exact: Row, entry: Row) -> float:
    """Points by which the loss may exceed the measured one, with a certainty of `CERTAINTY`.

    Two one-sided bounds, added as independent errors are: of the mean over training seeds (t
    interval, Student 1908) and over the clips that happened to be validation (bootstrap of the
    difference on the same resamples, Efron 1979; of the first seed, whose difference varies more
    than the mean over seeds does, so this errs to the safe side). One seed tells nothing of the
    former; infinite where there are too few clips to resample.
    """
    if entry is exact:
        return 0.0
    by_seed = exact["validation_by_seed"]
    losses = [
        by_seed[seed] - value for seed, value in entry["validation_by_seed"].items()
        if seed in by_seed
    ]  # fmt: skip
    of_seeds = 0.0
    if len(losses) > 1:
        of_seeds = t.ppf(CERTAINTY, len(losses) - 1) * stdev(losses) / sqrt(len(losses))
    lost = np.subtract(*(
        np.asarray(each["validation_resampled"], np.float64) for each in (exact, entry)
    ))  # fmt: skip
    doubt = float(hypot(of_seeds, norm.ppf(CERTAINTY) * lost.std(ddof=1)))
    return doubt if np.isfinite(doubt) else inf


def averages(lines: Sequence[Row]) -> Row:
    """Mean and extremes of the differences over all data sets and encoders."""
    found: Row = {"rows": len(lines)}
    for name in ("chosen_minus_linear", "chosen_minus_float", "binary_minus_float"):
        values = [line[name] for line in lines if name in line]
        if values:
            found[name] = {
                "mean": round(mean(values), 2), "least": min(values), "most": max(values)
            }  # fmt: skip
    return found


def _place(entry: Row) -> tuple[Any, ...]:
    return tuple(entry[key] for key in _PLACE)


def _difference(one: Row, other: Row) -> float:
    return round(float(one["test"] - other["test"]), 3)
