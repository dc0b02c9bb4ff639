"""Best match of every prototype among the tokens of a clip, without the dense gradient."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

SLAB_BYTES = 64 * 2**20
"""Similarities held at a time; a single clip may exceed it."""


class MaxSimilarity(torch.autograd.Function):
    """``score[b, m] = max_t tokens[b, t] . prototypes[m]``.

    ``MaxSimilarity.apply(tokens, prototypes, valid)``; ``valid`` may be left out. The (B, T, M)
    similarities are computed in slabs of clips and never kept: a maximum has one derivative, that
    of its argmax, so the backward pass reads B * M tokens where the dense one reads B * T * M.

    Parameters
    ----------
    tokens : (B, T, D) float
    prototypes : (M, D) float
        Same dtype as tokens.
    valid : (B, T) bool, optional
        Tokens that are False are no candidates; in a clip without a valid token all are. Left
        out, a zero token is a candidate that scores 0.

    Returns
    -------
    (B, M) float
    """

    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, prototypes: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Best similarities, slab by slab; only their positions are saved."""
        tokens = tokens.contiguous()
        n_clips, n_tokens, _ = tokens.shape
        clip_bytes = n_tokens * len(prototypes) * tokens.element_size()
        n_slab = max(1, SLAB_BYTES // max(1, clip_bytes))
        best = tokens.new_empty(n_clips, len(prototypes))
        position = torch.empty(best.shape, dtype=torch.long, device=tokens.device)
        for first in range(0, n_clips, n_slab):
            slab = slice(first, first + n_slab)
            similarity = tokens[slab] @ prototypes.T
            if valid is not None and not valid[slab].all():
                excluded = ~valid[slab] & valid[slab].any(dim=1, keepdim=True)
                similarity.masked_fill_(excluded[..., None], -torch.inf)
            torch.max(similarity, dim=1, out=(best[slab], position[slab]))
        ctx.save_for_backward(tokens, prototypes, position)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of the tokens and prototypes that were asked for."""
        tokens, prototypes, position = ctx.saved_tensors
        n_clips, n_tokens, n_dims = tokens.shape
        rows = tokens.view(-1, n_dims)
        first_row = torch.arange(n_clips, device=tokens.device)[:, None] * n_tokens
        chosen = position + first_row
        for_tokens = for_prototypes = None
        if ctx.needs_input_grad[0]:
            for_tokens = _token_gradient(chosen, gradient, prototypes, len(rows)).view_as(tokens)
        if ctx.needs_input_grad[1]:
            for_prototypes = functional.embedding_bag(
                chosen.T.contiguous(), rows, mode="sum", per_sample_weights=gradient.T.contiguous()
            )
        return for_tokens, for_prototypes, None


def _token_gradient(chosen: Tensor, gradient: Tensor, prototypes: Tensor, n_rows: int) -> Tensor:
    """Sum over the prototypes that chose a token of gradient times prototype: (n_rows, D).

    ``chosen`` and ``gradient`` are (B, M): the row each prototype chose, and its weight.
    """
    row, order = torch.sort(chosen.flatten(), stable=True)
    touched, counts = torch.unique_consecutive(row, return_counts=True)
    sums = functional.embedding_bag(
        order % len(prototypes),
        prototypes,
        counts.cumsum(0) - counts,
        mode="sum",
        per_sample_weights=gradient.flatten()[order],
    )
    result = prototypes.new_zeros(n_rows, prototypes.shape[1])
    result[touched] = sums
    return result
