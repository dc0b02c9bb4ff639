"""Intervals of precision and recall: how often they cover the truth, and how wide they are.

``bench_validation.py [DEPLOYMENTS]``: of each kind of `support.simulated_reviews`, 200 of them by
default. Prints a table: coverage in percent / median width. Methods:

* fay: what `edge_probe.desk.validation` does; half: with half the weight of one more window;
* korn: Clopper and Pearson on the effective sample size of Korn and Graubard (1998);
* wilson: Wilson's score interval on Kish's effective sample size, (Σw)² / Σw²;
* wald: linearised, estimate ± 1.96 standard errors;
* bootstrap: 200 Poisson bootstrap resamples, 2.5 % and 97.5 %.
"""

import sys
from collections.abc import Callable
from math import isnan, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.simulated_reviews import SCENES, Deployment, deployments

from edge_probe.desk.beta import beta_quantile
from edge_probe.desk.validation import _share, _Sum

Weights = NDArray[np.float64]
Limits = tuple[float, float]
TAIL = 0.025
Z = 1.959964


def fay(hits: Weights, misses: Weights, most: Limits, part: float = 1.0) -> Limits:
    """As the desk does it."""
    sums = _Sum.of(hits, part * most[0]), _Sum.of(misses, part * most[1])
    return _share(*sums, 1 - 2 * TAIL)[1:]


def half(hits: Weights, misses: Weights, most: Limits) -> Limits:
    """With half of one more window."""
    return fay(hits, misses, most, 0.5)


def _variance(hits: Weights, misses: Weights) -> tuple[float, float]:
    total = hits.sum() + misses.sum()
    share = hits.sum() / total
    squares = (hits**2).sum() * (1 - share) ** 2 + (misses**2).sum() * share**2
    return float(share), float(squares / total**2)


def korn(hits: Weights, misses: Weights, _most: Limits) -> Limits:
    """Korn and Graubard."""
    n = float(len(hits) + len(misses))
    share, variance = _variance(hits, misses)
    if variance > 0:
        n = min(n, share * (1 - share) / variance)
    k = share * n
    low = beta_quantile(TAIL, k, n - k + 1) if k > 0 else 0.0
    return low, beta_quantile(1 - TAIL, k + 1, n - k) if n - k > 1e-9 else 1.0


def wilson(hits: Weights, misses: Weights, _most: Limits) -> Limits:
    """Wilson."""
    total = hits.sum() + misses.sum()
    n = total**2 / ((hits**2).sum() + (misses**2).sum())
    share = hits.sum() / total
    middle = (share + Z * Z / 2 / n) / (1 + Z * Z / n)
    reach = Z / (1 + Z * Z / n) * sqrt(share * (1 - share) / n + Z * Z / 4 / n / n)
    return middle - reach, middle + reach


def wald(hits: Weights, misses: Weights, _most: Limits) -> Limits:
    """Linearised."""
    share, variance = _variance(hits, misses)
    return share - Z * sqrt(variance), share + Z * sqrt(variance)


_rng = np.random.default_rng(0)


def bootstrap(hits: Weights, misses: Weights, _most: Limits) -> Limits:
    """Poisson bootstrap."""
    some, others = (_rng.poisson(1, (200, len(part))) @ part for part in (hits, misses))
    both = some + others
    low, high = np.quantile(some[both > 0] / both[both > 0], [TAIL, 1 - TAIL])
    return float(low), float(high)


METHODS: dict[str, Callable[[Weights, Weights, Limits], Limits]] = {
    "fay": fay, "half": half, "korn": korn, "wilson": wilson, "wald": wald,
    "bootstrap": bootstrap,
}  # fmt: skip


def parts(made: Deployment, threshold: float) -> dict[str, tuple[Weights, Weights, Limits, float]]:
    """Weights of hits and misses, the largest of each, and the truth: of precision and recall."""
    weight = np.array([1 / review.probability for review in made.reviews])
    present = np.array([review.verdict == "correct" for review in made.reviews])
    above = np.array([review.logit >= threshold for review in made.reviews])
    most, most_below = weight[above].max(initial=0.0), weight[~above].max(initial=0.0)
    hits = weight[present & above]
    return {
        "precision": (hits, weight[~present & above], (most, most), made.precision(threshold)),
        "recall": (hits, weight[present & ~above], (most, most_below), made.recall(threshold)),
    }


def main() -> None:
    """Print the table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{'':24}{'':10}{''.join(f'{name:>14}' for name in METHODS)}")
    for seed, (kind, scene) in enumerate(SCENES.items()):
        found: dict[tuple[str, str], list[tuple[bool, float]]] = {}
        for made in deployments(scene, n, seed):
            for what, (hits, misses, most, truth) in parts(made, scene.threshold).items():
                if len(hits) + len(misses) == 0 or isnan(truth):
                    continue
                for name, method in METHODS.items():
                    low, high = method(hits, misses, most)
                    width = min(1.0, high) - max(0.0, low)
                    found.setdefault((what, name), []).append((low <= truth <= high, width))
        for what in ("precision", "recall"):
            cells = [np.array(found[what, name]) for name in METHODS]
            told = [f"{100 * c[:, 0].mean():.1f} / {np.median(c[:, 1]):.2f}" for c in cells]
            print(f"{kind:24}{what:10}{''.join(f'{cell:>14}' for cell in told)}", flush=True)


if __name__ == "__main__":
    main()
