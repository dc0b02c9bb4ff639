"""Token maps of made-up clips."""

from collections.abc import Sequence

import torch
from torch import Tensor

from export.heads import MapShape, TokenMaps


def token_maps(
    tokens: Tensor, n_steps: Sequence[int] | None = None, cls: Tensor | None = None
) -> TokenMaps:
    """Maps (B, D, S_t, S_f) of which clip b ends after ``n_steps[b]`` columns; zero behind."""
    n_clips, _, longest, n_freq = tokens.shape
    ends = torch.tensor([longest] * n_clips if n_steps is None else n_steps)
    heard = torch.arange(longest) < ends[:, None]
    valid = heard[..., None].expand(-1, -1, n_freq)
    return TokenMaps(tokens * valid[:, None], valid, cls)


def noise_maps(shape: MapShape, n_steps: Sequence[int], seed: int) -> TokenMaps:
    """One clip of independent normal tokens per entry of ``n_steps``."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(n_steps), shape.n_dims, max(n_steps), shape.n_freq)
    cls = torch.randn(len(n_steps), shape.n_cls, generator=generator) if shape.n_cls else None
    return token_maps(torch.randn(size, generator=generator), n_steps, cls)
