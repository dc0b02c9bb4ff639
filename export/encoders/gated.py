"""A transformed encoder takes its name only if it keeps what the original knew."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from export.card import EncoderCard, facts_of, read_card, write_card
from export.clips import ClipSet
from export.encoders.fidelity import BUDGET_POINTS, Fidelity, check_clips, compare


def write_gated(
    before: EncoderCard,
    out: Path,
    what: str,
    make: Callable[[Path], None],
    clips: ClipSet,
    cache: Path,
    budget_points: float = BUDGET_POINTS,
) -> tuple[EncoderCard, Fidelity]:
    """Make an encoder, judge it, and only then put it and its card where they belong.

    Parameters
    ----------
    before : EncoderCard
        What it is made from.
    out : Path
        The new graph; its folder exists.
    what : str
        Name of the transformation, for the card.
    make : callable
        Writes graph and external data under a path.
    clips : ClipSet
        Judge it.
    cache : Path
        Folder of the token cache.
    budget_points : float
        Macro mAP, in percent, that it may cost.

    Raises
    ------
    FidelityError
        It costs more; nothing is written.
    EdgeProbeError
        It cannot be made or judged.
    """
    check_clips(clips)
    facts = facts_of(before)
    steps = [*facts.pop("steps", [])]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".encoder-") as folder:
        made = Path(folder) / out.name
        make(made)
        fidelity = compare(before, write_card(made, facts), clips, cache)
        fidelity.check(budget_points)
        step = {"what": what, "made_from": before.graph.name, "budget_points": budget_points}
        step |= fidelity.figures()
        card = write_card(made, facts | {"steps": [*steps, step]})
        for path in (*card.external_data, made.with_suffix(".toml"), made):
            path.replace(out.parent / path.name)  # the graph last: it is what makes an encoder
    return read_card(out), fidelity
