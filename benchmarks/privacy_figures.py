"""How much of what was said is left, and how much else went with it; and the table of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scenes import Scene
from speech import RATE_HZ

ENOUGH_S = 0.5
"""So much speech in one stretch counts as something that may be understood."""

N_RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scene."""

    background: str
    site: str
    speech_s: float
    speech_zeroed_s: float
    other_s: float
    """Without speech."""
    other_zeroed_s: float
    left_s: tuple[float, ...]
    """Of each utterance: the most speech in one stretch that was kept."""


def outcome(scene: Scene, is_kept: NDArray[np.bool_]) -> Outcome:
    """Count the samples of a scene."""
    speech_s, other_s = scene.speech.sum() / RATE_HZ, (~scene.speech).sum() / RATE_HZ
    return Outcome(
        scene.background,
        scene.site,
        float(speech_s),
        float((scene.speech & ~is_kept).sum() / RATE_HZ),
        float(other_s),
        float((~scene.speech & ~is_kept).sum() / RATE_HZ),
        tuple(
            longest_speech_s(scene.speech[begin:end], is_kept[begin:end])
            for begin, end in scene.utterances
        ),
    )


def longest_speech_s(speech: NDArray[np.bool_], is_kept: NDArray[np.bool_]) -> float:
    """The most speech in any stretch of an utterance that was kept without a break."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], is_kept, [False]]).astype(np.int8)))
    n_speech = [speech[begin:end].sum() for begin, end in borders.reshape(-1, 2)]
    return float(max(n_speech, default=0) / RATE_HZ)


def figures(outcomes: Sequence[Outcome], seed: int = 0) -> Row:
    """Figures of one condition, with 95 % percentile intervals.

    The bootstrap draws backgrounds, not clips: two clips may share one, and are then no two
    independent ones.
    """
    row: Row = {
        "n_clips": len(outcomes),
        "n_backgrounds": len({one.background for one in outcomes}),
        "other_s": round(sum(one.other_s for one in outcomes), 1),
        "other_zeroed": _with_interval(_other_zeroed, outcomes, seed),
    }
    if any(one.left_s for one in outcomes):
        row |= {
            "speech_s": round(sum(one.speech_s for one in outcomes), 1),
            "speech_zeroed": _with_interval(_speech_zeroed, outcomes, seed),
            "by_clip_median": round(float(np.median(_by_clip(outcomes))), 4),
            "by_clip_worst": round(float(np.min(_by_clip(outcomes))), 4),
            "n_utterances": sum(len(one.left_s) for one in outcomes),
            "utterances_left": _with_interval(_utterances_left, outcomes, seed),
        }
    return row


def _speech_zeroed(outcomes: Sequence[Outcome]) -> float:
    return sum(o.speech_zeroed_s for o in outcomes) / sum(o.speech_s for o in outcomes)


def _other_zeroed(outcomes: Sequence[Outcome]) -> float:
    return sum(o.other_zeroed_s for o in outcomes) / sum(o.other_s for o in outcomes)


def _by_clip(outcomes: Sequence[Outcome]) -> list[float]:
    return [one.speech_zeroed_s / one.speech_s for one in outcomes]


def _utterances_left(outcomes: Sequence[Outcome]) -> float:
    left = [left_s >= ENOUGH_S for one in outcomes for left_s in one.left_s]
    return sum(left) / len(left)


def _with_interval(
    statistic: Callable[[Sequence[Outcome]], float], outcomes: Sequence[Outcome], seed: int
) -> Row:
    """A figure and the interval of it over backgrounds drawn again and again."""
    random = np.random.default_rng(seed)
    names = sorted({one.background for one in outcomes})
    groups = [[one for one in outcomes if one.background == name] for name in names]
    drawn = [
        statistic([one for at in random.integers(len(groups), size=len(groups))
                   for one in groups[at]])
        for _ in range(N_RESAMPLES)
    ]  # fmt: skip
    low, high = np.percentile(drawn, _INTERVAL)
    return {
        "value": round(statistic(outcomes), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def render(result: Row) -> str:
    """The table of `edge_probe/disk/README.md`, from the committed result only."""
    names = [(head["encoder"], head["setting"]) for head in result["heads"]]
    rows = {(r["encoder"], r["setting"], r["snr_db"]): r for r in result["rows"]
            if r["site"] == "all"}  # fmt: skip
    levels = sorted({level for *_, level in rows if level is not None}, reverse=True)
    table = [
        ["speech over field audio", *(f"{e}, {s}" for e, s in names)],
        ["---"] * (1 + len(names)),
    ]
    for level in levels:
        cells = [rows[(*name, level)] for name in names]
        named = f"{level:+.0f} dB" if level else "0 dB"
        table.append([named, *(_speech_cell(row) for row in cells)])
    loudest = levels[0]
    for what, level in ((f"other audio at {loudest:+.0f} dB", loudest), ("nobody speaks", None)):
        cells = [rows[(*name, level)] for name in names]
        table.append([what, *(f"{_share(row['other_zeroed'])} zeroed" for row in cells)])
    lines = ["| " + " | ".join(row) + " |" for row in table]
    first = rows[(*names[0], levels[0])]
    note = (
        f"Speech that is zeros now, with the 95 % interval; worst clip; utterances of which "
        f"{ENOUGH_S:g} s or more are left in one stretch. {first['n_utterances']} utterances "
        f"({first['speech_s'] / 60:.0f} min of speech) in {first['n_clips']} clips of a minute, "
        f"{first['n_backgrounds']} backgrounds; {result['synthesiser']}, {result['date']}."
    )
    return "\n".join(lines) + f"\n\n{note}\n"


def _speech_cell(row: Row) -> str:
    worst, left = row["by_clip_worst"], row["utterances_left"]["value"]
    return f"{_share(row['speech_zeroed'])}; worst {worst:.0%}; left of {left:.0%}"


def _share(figure: Row) -> str:
    return f"{figure['value']:.0%} ({figure['low']:.0%} to {figure['high']:.0%})"
