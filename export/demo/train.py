"""Train the demonstration encoder: mixtures in the power domain, a float and a 1-bit branch.

    python -m export.demo.train ESC10 --background FIELD_RECORDINGS --out encoder.onnx

A checkpoint beside the output lets an interrupted run go on where it was.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from edge_probe.errors import EdgeProbeError
from export.demo import data
from export.demo.graph import export_onnx
from export.demo.model import N_DIMS, TokenNet
from export.heads import MapShape, TokenMaps
from export.heads.pooled import MeanLinear
from export.heads.protobin import Protobin

N_STEPS = 2_200
BATCH = 24
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
CHECKPOINT_STEPS = 200
TOKENS_KEPT = 0.7
"""Share of a bag's tokens that the heads see at each step, so that no single one is relied on."""

EMA_DECAY = 0.995
"""Of the running average of the weights that is kept in the end."""

PROTOTYPES_PER_CLASS = 20
DROPOUT = 0.1

RECIPE = (
    BATCH, LEARNING_RATE, WEIGHT_DECAY, TOKENS_KEPT, EMA_DECAY, PROTOTYPES_PER_CLASS, DROPOUT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sounds:
    """Everything one training run hears, as mel power."""

    clips: Tensor
    """(shifts, N, BAG_CHUNKS, frames, mels)"""
    targets: Tensor
    """(N,) int64"""
    background: Tensor
    """(K, BAG_CHUNKS, frames, mels)"""
    n_classes: int


class Trainee(nn.Module):
    """The net and the three heads that teach it; only the net is kept."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        shape = MapShape(N_DIMS, 1, n_classes)
        self.net = TokenNet()
        self.float_head, self.sign_head = (
            Protobin(
                shape, PROTOTYPES_PER_CLASS, learn_offset=True, standardise=True, dropout=DROPOUT
            )
            for _ in range(2)
        )
        self.sign_head.binarise(torch.zeros(1, N_DIMS), 1)
        self.mean_head = MeanLinear(shape)

    def maps(self, power: Tensor) -> TokenMaps:
        """Some tokens of every bag: (B, chunks, frames, mels) -> maps with S_f = 1."""
        maps = self.net(power.flatten(0, 1))
        tokens = maps.flatten(2).unflatten(0, power.shape[:2]).movedim(1, 2).flatten(2)
        n_tokens = tokens.shape[2]
        kept = tokens[..., torch.randperm(n_tokens)[: int(TOKENS_KEPT * n_tokens)], None]
        valid = torch.ones(len(kept), *kept.shape[2:], dtype=torch.bool)
        return TokenMaps(kept, valid)

    def loss(self, power: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy of the three heads, slightly smoothed labels."""
        maps = self.maps(power)
        smooth = labels * 0.95 + 0.01
        float_loss, sign_loss, mean_loss = (
            functional.binary_cross_entropy_with_logits(head(maps), smooth)
            for head in (self.float_head, self.sign_head, self.mean_head)
        )
        return float_loss + sign_loss + 0.5 * mean_loss


def mixture(sounds: Sounds, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One augmented bag of none to three sounds, perhaps with background, and its labels."""
    power = torch.zeros(sounds.background.shape[1:])
    labels = torch.zeros(sounds.n_classes)
    n_sounds = int(rng.choice(4, p=[0.20, 0.40, 0.27, 0.13]))
    for number in range(n_sounds):
        which = int(rng.integers(len(sounds.targets)))
        sound = sounds.clips[int(rng.integers(len(sounds.clips))), which]
        below_db = rng.uniform(0, 12 if number else 3)
        power += sound.roll(int(rng.integers(data.BAG_CHUNKS)), 0) * 10 ** (-below_db / 10)
        labels[sounds.targets[which]] = 1
    if n_sounds == 0 or rng.random() < 0.4:
        noise = sounds.background[int(rng.integers(len(sounds.background)))]
        gain_db = rng.uniform(-30, -3) if n_sounds else rng.uniform(-30, 10)
        power += noise.roll(int(rng.integers(data.BAG_CHUNKS)), 0) * 10 ** (gain_db / 10)
    return _masked(_coloured(power, rng), rng), labels


def _coloured(power: Tensor, rng: np.random.Generator) -> Tensor:
    """Another level (±20 dB), a smooth equaliser, and a pitch shift of up to three mel bands."""
    n_mels = power.shape[-1]
    curve = np.interp(np.arange(n_mels), np.linspace(0, n_mels - 1, 4), rng.normal(0, 0.25, 4))
    power = power * torch.from_numpy(10 ** (curve + rng.uniform(-2, 2))).float()
    shift = int(rng.integers(-3, 4))
    position = torch.arange(n_mels).sub(shift).clamp(0, n_mels - 1)
    return power[..., position]


def _masked(power: Tensor, rng: np.random.Generator) -> Tensor:
    """Two bands and two stretches of time taken out (Park et al., "SpecAugment", 2019)."""
    n_chunks, n_frames, n_mels = power.shape
    for _ in range(2):
        low, width = int(rng.integers(n_mels)), int(rng.integers(8))
        band = power[..., low : low + width]
        band[...] = 0 if width == 0 or rng.random() < 0.5 else band.mean()
        begin, length = int(rng.integers(n_frames)), int(rng.integers(24))
        power[int(rng.integers(n_chunks)), begin : begin + length] = 0
    return power


def train(
    sounds: Sounds,
    *,
    seed: int,
    n_steps: int = N_STEPS,
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> TokenNet:
    """Train one encoder.

    Parameters
    ----------
    sounds : Sounds
    seed : int
        The same seed, sounds and thread count give the same encoder.
    n_steps : int
    checkpoint : Path, optional
        Where to keep the state; an existing one is continued.
    progress : str, optional
        Name of a progress bar.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    trainee = Trainee(sounds.n_classes)
    heads = [weight for name, weight in trainee.named_parameters() if not name.startswith("net.")]
    groups: list[dict[str, Any]] = [
        {"params": [*trainee.net.parameters()], "weight_decay": WEIGHT_DECAY},
        {"params": heads},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=n_steps, pct_start=0.15
    )
    average = AveragedModel(
        trainee.net, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True
    )
    parts = {"trainee": trainee, "average": average, "optimizer": optimizer, "schedule": schedule}
    run = _run_key(sounds, seed, n_steps)
    first = _resume(checkpoint, parts, rng, run)
    bar = tqdm(range(first, n_steps), progress, n_steps, initial=first, disable=not progress)
    for step in bar:
        bags = [mixture(sounds, rng) for _ in range(BATCH)]
        loss = trainee.loss(*(torch.stack(part) for part in zip(*bags, strict=True)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(trainee.net)
        if (step + 1) % CHECKPOINT_STEPS == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
            _keep(checkpoint, parts, rng, run, step + 1)
    trainee.net.load_state_dict(average.module.state_dict())
    return trainee.net.eval()


def _run_key(sounds: Sounds, seed: int, n_steps: int) -> str:
    """What a checkpoint may be continued with: the sounds, the labels, the seed, the recipe."""
    digest = hashlib.sha256(repr((seed, n_steps, *RECIPE)).encode())
    for part in (sounds.clips[0], sounds.targets, sounds.background):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _keep(
    checkpoint: Path | None,
    parts: dict[str, object],
    rng: np.random.Generator,
    run: str,
    step: int,
) -> None:
    if checkpoint is None:
        return
    state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
    state |= {
        "run": run,
        "step": step,
        "torch": torch.get_rng_state(),
        "numpy": rng.bit_generator.state,
    }
    fresh = checkpoint.with_suffix(".part")
    torch.save(state, fresh)
    fresh.replace(checkpoint)


def _resume(
    checkpoint: Path | None, parts: dict[str, object], rng: np.random.Generator, run: str
) -> int:
    """Load the state of an interrupted run; returns the step to go on with."""
    if checkpoint is None or not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    if state.get("run") != run:
        raise EdgeProbeError(
            f"{checkpoint}: belongs to other clips, another seed or another recipe",
            hint="delete it, or write to another --out",
        )
    for name, part in parts.items():
        part.load_state_dict(state[name])  # type: ignore[attr-defined]
    torch.set_rng_state(state["torch"])
    rng.bit_generator.state = state["numpy"]
    return int(state["step"])


def load_sounds(esc10: Path, background: Path, folds: list[int], seed: int) -> Sounds:
    """Read the clips of some folds and the background."""
    clips, names = data.esc10_clips(esc10)
    chosen = [clip for clip in clips if clip.fold in folds]
    return Sounds(
        data.shifted_maps([clip.path for clip in chosen], f"folds {folds}"),
        torch.tensor([clip.target for clip in chosen]),
        data.background_maps(data.field_background(background), seed),
        len(names),
    )


def main() -> None:
    """Train and export one encoder."""
    parser = argparse.ArgumentParser(description="Train the demonstration encoder.")
    parser.add_argument("esc10", type=Path, help="folder with meta.csv and audio/")
    parser.add_argument("--background", type=Path, required=True, help="field recordings (FLAC)")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="encoder.onnx")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sounds = load_sounds(args.esc10, args.background, args.folds, args.seed)
    net = train(
        sounds, seed=args.seed, checkpoint=args.out.with_suffix(".ckpt"), progress="encoder"
    )
    export_onnx(net, args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
