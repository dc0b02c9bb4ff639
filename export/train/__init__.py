"""Fit heads on cached tokens: the float protobin head, the way to one bit, the linear probe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from edge_probe.head import MeanLinearHead, ProtobinHead
from edge_probe.spec import TokenBits
from export.heads.protobin import MeanLinearModule, ProtobinModule, TrainedHead, mean_linear_runtime
from export.tokens import ClipTokens
from export.train.loss import asymmetric_loss


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """What a head is and how it is trained; defaults follow Rauch et al., arXiv 2509.24901."""

    kind: str = "protobin"
    """protobin or mean-linear."""
    bits: TokenBits = 1
    """Token precision. 1 is trained for; 2..8 cut the float head's tokens after training."""
    linear: str = "int8"
    """int8 or float32."""
    prototypes_per_class: int = 20
    learn_offset: bool = True
    epochs: int = 40
    """Of the float head; as many again on the way to one bit."""
    batch: int = 32
    learning_rate: float = 1e-2
    sign_learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    dropout: float = 0.2


@dataclass(frozen=True, slots=True)
class Bags:
    """Clips as padded tensors."""

    tokens: list[Tensor]
    """(T_i, D) float16, one per clip."""
    valid: list[Tensor]
    """(T_i,) bool"""
    targets: Tensor
    """(N, C) float32"""

    @classmethod
    def of(cls, clips: Sequence[ClipTokens], targets: NDArray[np.float32]) -> "Bags":
        """Flatten the chunks of each clip into one bag of tokens."""
        tokens = [torch.from_numpy(c.tokens.reshape(-1, c.tokens.shape[-1])) for c in clips]
        return cls(
            tokens,
            [torch.from_numpy(clip.valid.reshape(-1)) for clip in clips],
            torch.from_numpy(targets),
        )

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, T, D) float32, valid (B, T) and targets (B, C) of some clips."""
        tokens = nn.utils.rnn.pad_sequence([self.tokens[row] for row in rows], batch_first=True)
        valid = nn.utils.rnn.pad_sequence([self.valid[row] for row in rows], batch_first=True)
        return tokens.float(), valid, self.targets[list(rows)]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Median and standard deviation of every component over all valid tokens: (D,), (D,)."""
        kept = torch.cat([t[v] for t, v in zip(self.tokens, self.valid, strict=True)]).float()
        return kept.median(dim=0).values, kept.std(dim=0).clamp(min=1e-6)


def fit_head(
    bags: Bags, options: HeadOptions, *, seed: int, progress: str | None = None
) -> ProtobinHead | MeanLinearHead:
    """Train one head and pack it for the device.

    Parameters
    ----------
    bags : Bags
        Training clips; rows of targets without any class are background.
    options : HeadOptions
    seed : int
        The same seed, bags and thread count give the same head.
    progress : str, optional
        Name of a progress bar.
    """
    if options.kind == "mean-linear":
        return mean_linear_runtime(_fit_mean_linear(bags, options, seed, progress))
    trained = fit_protobin(bags, options, seed=seed, progress=progress)[-1]
    if options.bits in ("float", 1):
        return trained.runtime(options.bits, options.linear)
    return match_scores(trained, bags, options.bits).runtime(options.bits, options.linear)


def fit_protobin(
    bags: Bags, options: HeadOptions, *, seed: int, progress: str | None = None
) -> list[TrainedHead]:
    """The float head and, for one bit, the binary head annealed from it.

    The way to one bit: tokens ``(1 - a) unit(z - c) + a sign(z - c) / sqrt(D)``, a rising from 0
    to 1 over the first half of the epochs, starting from the float head's parameters.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    n_classes = bags.targets.shape[1]
    n_dims = bags.tokens[0].shape[1]
    module = ProtobinModule(
        n_dims, options.prototypes_per_class * n_classes, n_classes,
        dropout=options.dropout, learn_offset=options.learn_offset,
    )  # fmt: skip
    median, spread = bags.statistics()
    module.spread.copy_(spread)
    if options.learn_offset:
        with torch.no_grad():
            module.offset.copy_(median)
    _descend(module, bags, options, options.learning_rate, rng, progress, anneal=False)
    heads = [TrainedHead.of(module, _mean_scores(module, bags))]
    if options.bits == 1:
        name = progress and f"{progress}, to 1 bit"
        _descend(module, bags, options, options.sign_learning_rate, rng, name, anneal=True)
        heads.append(TrainedHead.of(module, _mean_scores(module, bags)))
    return heads


def match_scores(trained: TrainedHead, bags: Bags, bits: TokenBits) -> TrainedHead:
    """Make up for what cutting the tokens to ``bits`` does to the prototype scores on average.

    Odd digits have no zero: where a token map is mostly zeros, every prototype's scores shift by
    an amount of its own. Their means over the training bags are brought back to those of float
    tokens; the correction goes into b.
    """
    exact, cut = (
        _runtime_scores(trained.runtime(precision, "float32"), bags).mean(axis=0)
        for precision in ("float", bits)
    )
    return replace(
        trained,
        bias=trained.bias + trained.weights.astype(np.float64) @ (exact - cut),
        reference_scores=cut.astype(np.float32),
    )


def _runtime_scores(head: ProtobinHead, bags: Bags) -> NDArray[np.float64]:
    """Prototype scores of every training bag as the device computes them: (N, M) float64."""
    return np.stack([
        head.summarise(tokens.float().numpy(), valid.numpy()).scores.astype(np.float64)
        for tokens, valid in zip(bags.tokens, bags.valid, strict=True)
    ])  # fmt: skip


def _fit_mean_linear(
    bags: Bags, options: HeadOptions, seed: int, progress: str | None
) -> MeanLinearModule:
    torch.manual_seed(seed)
    module = MeanLinearModule(bags.tokens[0].shape[1], bags.targets.shape[1])
    rng = np.random.default_rng(seed)
    _descend(module, bags, options, options.learning_rate, rng, progress, anneal=False)
    return module


def _descend(
    module: ProtobinModule | MeanLinearModule,
    bags: Bags,
    options: HeadOptions,
    learning_rate: float,
    rng: np.random.Generator,
    progress: str | None,
    *,
    anneal: bool,
) -> None:
    """AdamW with cosine annealing and the asymmetric loss."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=learning_rate, weight_decay=options.weight_decay
    )
    n_steps = options.epochs * -(-len(bags.tokens) // options.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    module.train()
    batches = _balanced_batches(bags, options.batch, rng)
    for step in tqdm(range(n_steps), desc=progress, disable=progress is None, leave=False):
        if anneal and isinstance(module, ProtobinModule):
            module.sign_share = min(1.0, 2 * step / n_steps)
        tokens, valid, targets = bags.batch(next(batches))
        loss = asymmetric_loss(module(tokens, valid), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    if anneal and isinstance(module, ProtobinModule):
        module.sign_share = 1.0
    module.eval()


def _balanced_batches(bags: Bags, size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Batches for ever; a clip is drawn as often as its rarest class is rare.

    Background weighs like one more class.
    """
    targets = bags.targets.numpy()
    present = np.concatenate([targets, targets.sum(axis=1, keepdims=True) == 0], axis=1)
    count = present.sum(axis=0)
    per_clip = np.where(present > 0, 1 / np.maximum(count, 1), 0).max(axis=1)
    share = per_clip / per_clip.sum()
    while True:
        yield rng.choice(len(share), size, p=share).tolist()


@torch.no_grad()
def _mean_scores(module: ProtobinModule, bags: Bags) -> Tensor:
    """Mean prototype score over the training bags: (M,)."""
    rows = range(len(bags.tokens))
    scores = [module.scores(*bags.batch(rows[i : i + 64])[:2]) for i in range(0, len(rows), 64)]
    return torch.cat(scores).mean(dim=0)
