r"""ESC-10 cross-validation over folds 1 to 4, of the demonstration encoder or a frozen one.

python -m export.crossval ESC10 --demo --background FIELD_RECORDINGS --out esc10_demo.json
python -m export.crossval ESC10 --encoder yamnet_encoder_w8.onnx --out esc10_yamnet.json

For each fold the head (with ``--demo`` the encoder too) is trained on the other three folds with
the default recipe; the held-out fold is only counted. A clip's class is the highest logit over
all its chunks. Interrupted, the same command goes on where it was; encoders and results are kept
in a folder whose name is a hash of all that made them.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_probe import __version__
from edge_probe.errors import EdgeProbeError
from edge_probe.head import Head
from export.card import CARDS, EncoderCard, read_card
from export.clips import Clip
from export.demo import data, train
from export.demo.graph import export_onnx
from export.precision import LINEAR_PROBE
from export.tokens import ClipTokens, TokenCache, encoder_key
from export.train import Bags, HeadOptions, fit_heads

FOLDS = (1, 2, 3, 4)
SEEDS = (0, 1, 2)


def accuracy(head: Head, clips: Sequence[ClipTokens], targets: NDArray[np.int64]) -> float:
    """Share of clips whose highest logit, over all their chunks, is their class."""
    right = 0
    for clip, target in zip(clips, targets, strict=True):
        chunks = [
            head.summarise(tokens.astype(np.float32), valid)
            for tokens, valid in zip(clip.tokens, clip.valid, strict=True)
            if valid.any()  # else the end of the clip, of no token: the recorder leaves it out
        ]
        right += int(head.logits(head.merge(chunks)).argmax() == target)  # type: ignore[arg-type]
    return right / len(clips)


def work_folder(args: argparse.Namespace) -> Path:
    """Where encoders and results of these clips, this background or encoder and recipe are kept."""
    made_of: list[object] = [train.N_STEPS, train.RECIPE, HeadOptions(), SEEDS]
    sources = [clip.path for clip in data.esc10_clips(args.esc10)[0]] + [args.esc10 / "meta.csv"]
    if args.encoder:
        made_of.append(encoder_key(read_card(args.encoder, args.card)))
    else:
        sources += data.field_background(args.background)
    digest = hashlib.sha256(repr(made_of).encode())
    for path in sources:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Path(args.work) / digest.hexdigest()[:16]


def fold_card(args: argparse.Namespace, folder: Path, fold: int) -> EncoderCard:
    """The encoder for a fold: the frozen one, or one trained without the fold."""
    if args.encoder:
        return read_card(args.encoder, args.card)
    graph = folder / f"fold{fold}.onnx"
    if not graph.is_file():
        rest = [other for other in FOLDS if other != fold]
        sounds = train.load_sounds(args.esc10, args.background, rest, seed=0)
        net = train.train(
            sounds, seed=0, checkpoint=graph.with_suffix(".ckpt"), progress=f"without {fold}"
        )
        export_onnx(net, graph)
    return read_card(graph, CARDS / "demo_encoder.toml")


def evaluate_fold(args: argparse.Namespace, folder: Path, fold: int) -> list[dict[str, Any]]:
    """Accuracy on one fold for every precision and seed."""
    clips, names = data.esc10_clips(args.esc10)
    cache = TokenCache(args.work / "cache", fold_card(args, folder, fold))
    encoded = cache.encode(
        [Clip(clip.path, (names[clip.target],), clip.path.stem) for clip in clips], "encode"
    )
    if encoded.unreadable:
        raise EdgeProbeError(encoded.unreadable[0], hint="ESC-10 must be complete")
    targets = np.array([clip.target for clip in clips])
    inside = np.array([clip.fold != fold for clip in clips])
    held_out = [encoded.tokens[row] for row in np.flatnonzero(~inside)]
    bags = Bags(
        [encoded.tokens[row] for row in np.flatnonzero(inside)],
        np.eye(len(names), dtype=np.float32)[targets[inside]],
        cache.card.spec.grid.n_freq,
    )
    rows = []
    for seed in SEEDS:
        for bits, head in heads_of(bags, seed, f"fold {fold} seed {seed}").items():
            right = accuracy(head, held_out, targets[~inside])
            rows.append({"fold": fold, "seed": seed, "tokens": bits, "accuracy": round(right, 4)})
    return rows


def heads_of(bags: Bags, seed: int, progress: str | None = None) -> dict[str, Head]:
    """The head at every precision, and the linear probe, all by the default recipe."""
    names = ("float", "8", "4", "1", LINEAR_PROBE)
    return dict(fit_heads(bags, names, HeadOptions(), seed=seed, progress=progress))


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean over folds and seeds, and the spread over seeds of the mean over folds."""
    result = {}
    for bits in dict.fromkeys(row["tokens"] for row in rows):
        per_seed = [
            mean(r["accuracy"] for r in rows if r["tokens"] == bits and r["seed"] == seed)
            for seed in SEEDS
        ]
        result[bits] = {
            "mean": round(mean(per_seed), 4),
            "sd_over_seeds": round(stdev(per_seed), 4),
        }
    return result


def main() -> int:
    """Run what is missing and write the JSON."""
    parser = argparse.ArgumentParser(description="ESC-10 cross-validation over folds 1 to 4.")
    parser.add_argument("esc10", type=Path, help="folder with meta.csv and audio/")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--demo", action="store_true", help="train the demonstration encoder")
    which.add_argument("--encoder", type=Path, metavar="FILE.onnx", help="a frozen encoder")
    parser.add_argument("--card", type=Path, metavar="FILE.toml")
    parser.add_argument("--background", type=Path, help="field recordings, for --demo")
    parser.add_argument("--work", type=Path, default=Path("crossval_work"), metavar="DIR")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()
    if args.demo and args.background is None:
        parser.error("--demo needs --background")
    torch.set_num_threads(args.threads)
    folder = work_folder(args)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for fold in FOLDS:
        part = folder / f"fold{fold}.json"
        if not part.is_file():
            part.write_text(json.dumps(evaluate_fold(args, folder, fold)), encoding="utf-8")
        rows += json.loads(part.read_text(encoding="utf-8"))
    result = {
        "what": "ESC-10 accuracy, 4-fold cross-validation on folds 1-4",
        "encoder": "demo, trained per fold" if args.demo else args.encoder.name,
        "date": datetime.now(UTC).date().isoformat(),
        "edge_probe": __version__,
        "seeds": list(SEEDS),
        "summary": summary(rows),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["summary"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
