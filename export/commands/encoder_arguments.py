"""Options that several subcommands of ``encoder`` have."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import number
from edge_probe.errors import EdgeProbeError
from export.commands.tokens import DEMO_ENCODER, report_unreadable

if TYPE_CHECKING:
    from export.card import EncoderCard
    from export.clips import ClipSet
    from export.encoders.fidelity import Fidelity


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """Which encoder."""
    parser.add_argument("encoder", type=Path, metavar="ENCODER.onnx", help="with its card")
    parser.add_argument("--card", type=Path, metavar="FILE.toml", help="default: the one beside it")


def add_clips(parser: argparse.ArgumentParser) -> None:
    """What it is judged by."""
    parser.add_argument(
        "--clips", type=Path, required=True, metavar="PATH",
        help="labelled clips, as for edge-export fit, several recordings of each class",
    )  # fmt: skip
    parser.add_argument("--folds", type=int, nargs="+", metavar="N", help="folds of a manifest")
    parser.add_argument(
        "--cache", type=Path, default=Path("token_cache"), metavar="DIR",
        help="where encoded clips are kept (default: token_cache)",
    )  # fmt: skip


def add_budget(parser: argparse.ArgumentParser) -> None:
    """What it may lose."""
    parser.add_argument(
        "--budget", type=number(0, 100), default=0.3, metavar="POINTS",
        help="macro mAP, in percent, that may be lost (default 0.3)",
    )  # fmt: skip


def add_out(parser: argparse.ArgumentParser) -> None:
    """Where the result goes."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")


def card_of(path: Path, card: Path | None = None) -> "EncoderCard":
    """An encoder with its card."""
    from export.card import CARDS, read_card

    if card is None and path.resolve() == DEMO_ENCODER:
        card = CARDS / "demo_encoder.toml"
    return read_card(path, card)


def clips_of(args: argparse.Namespace, window_s: float) -> "ClipSet":
    """The clips, those of the test left out."""
    from export.clips import read_clips

    clips = read_clips(args.clips, args.folds, window_s, without_test=True)
    report_unreadable([*clips.left_out])
    return clips


def new_file(out: Path) -> Path:
    """The name of a graph that is not there yet, in a folder that is."""
    refuse_existing(out)
    if not out.parent.is_dir():
        raise EdgeProbeError(f"{out.parent}: no such folder", hint="create it, or name another")
    refuse_unwritable(out.parent)
    return out


def refuse_unwritable(folder: Path) -> None:
    """Find out before the work whether its result can be kept; the folder may be yet to be made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise EdgeProbeError(
            f"{there}: nothing can be written there: {error.strerror}",
            hint="name another folder with --out",
        ) from error


def refuse_existing(out: Path) -> None:
    """Keep the files of another encoder: graph, card and weights."""
    from export.encoders.model import files_of

    if out.suffix != ".onnx":
        raise EdgeProbeError(f"{out}: expected a name that ends in .onnx", hint="name it so")
    for path in files_of(out):
        if path.exists():
            raise EdgeProbeError(f"{path}: exists already", hint="name another file with --out")


def show_fidelity(fidelity: "Fidelity") -> None:
    """Figures of a transformation."""
    print(
        f"tokens    cosine {fidelity.token_cosine_mean:.5f} in the mean, "
        f"{fidelity.token_cosine_min:.5f} at least, of {fidelity.n_clips} clips"
    )
    for precision, found in fidelity.heads.items():
        tokens = "float" if precision == "float" else f"{precision}-bit"
        print(
            f"{tokens:<9} mAP {found.map_before:.2f} -> {found.map_after:.2f} "
            f"({found.map_retrained:.2f} trained anew); scores change by "
            f"{found.score_change_mean:.4f}, at most {found.score_change_max:.3f}; decisions "
            f"{found.decisions_changed_percent:.1f} %"
        )


def seconds(most: float) -> Callable[[str], float]:
    """Parser of a length of time: above 0, at most this."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(
                f"expected seconds above 0, at most {most:g}, found {text!r}"
            )
        return value

    return parse


def words(text: str) -> str:
    """Parser of a name or a licence: not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected some words, found none")
    return text
