"""Heads that pool the token map by attention: a softmax over tokens, then weighted means.

Keys and values are linear in the tokens here, so their matrices are applied on the short side:
``q . (K z[t]) = (K' q) . z[t]`` and ``sum_t a[t] V z[t] = V sum_t a[t] z[t]``. The functions and
parameters are those of the papers; the cost per token falls from D^2 to D per query.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from export.heads.head import Head, candidates
from export.heads.maps import MapShape, TokenMaps

ATTENTION_HEADS = 12
"""Of ``mhca`` at most: AIM and Bird-MAE at D = 768."""
EP_QUERIES = 32
"""Of ``ep`` at most: the default of its authors."""
QUERY_START_STD = 0.02
"""Standard deviation of learned queries before training (AIM, EP)."""


class Mhca(Head):
    """``mhca``: one learned query attends in h heads, then a linear layer.

    For head i with its D/h rows of K, V and its part of the query q:
    ``a_i = softmax_t(q_i . K_i z[t] / sqrt(D/h))``, ``o_i = sum_t a_i[t] V_i z[t]``,
    ``logits = W [o_1 .. o_h] + b``; h is the largest divisor of D up to 12.
    2 D^2 + D + C D + C parameters. Source: attentive probing of AIM (arXiv 2401.08541) without
    its normalisation of the input, as counted in arXiv 2509.24901; tokens only, no [cls].
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"query", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.n_heads = _largest_divisor(shape.n_dims, ATTENTION_HEADS)
        self.query = nn.Parameter(torch.randn(shape.n_dims) * QUERY_START_STD)
        self.key = nn.Linear(shape.n_dims, shape.n_dims, bias=False)
        self.value = nn.Linear(shape.n_dims, shape.n_dims, bias=False)
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        query = self.query.unflatten(0, (self.n_heads, -1))
        key = self.key.weight.unflatten(0, (self.n_heads, -1))
        value = self.value.weight.unflatten(0, (self.n_heads, -1))
        queries = torch.einsum("hk,hkd->hd", query, key) / query.shape[1] ** 0.5
        pooled = _attend(queries, *maps.rows())
        logits: Tensor = self.linear(torch.einsum("bhd,hkd->bhk", pooled, value).flatten(1))
        return logits


class SimPool(Head):
    """``simpool``: the mean token asks, the tokens answer.

    ``n[t] = LayerNorm(z[t])``, ``a = softmax_t((Q mean_t z) . (K n[t]) / sqrt(D))``,
    ``logits = W sum_t a[t] n[t] + b``. 2 D^2 + 2 D + C D + C parameters. Source: SimPool (Psomas
    et al., ICCV 2023, arXiv 2309.06891) with gamma = 1, a weighted mean instead of a power mean,
    which is how its authors run it as a probe (arXiv 2506.10178).
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"norm.weight", "norm.bias", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.n_dims, eps=1e-6)
        self.query = nn.Linear(shape.n_dims, shape.n_dims, bias=False)
        self.key = nn.Linear(shape.n_dims, shape.n_dims, bias=False)
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        tokens, valid = maps.rows()
        queries = self.query(maps.mean()) @ self.key.weight / tokens.shape[2] ** 0.5
        pooled = _attend(queries[:, None], self.norm(tokens), valid)
        logits: Tensor = self.linear(pooled[:, 0])
        return logits


class EfficientProbing(Head):
    """``ep``: m learned queries attend to the tokens themselves; each reads its part of the values.

    For query i with its D/m rows of V: ``a_i = softmax_t(q_i . z[t] / sqrt(D))``,
    ``o_i = sum_t a_i[t] V_i z[t]``, ``logits = W [o_1 .. o_m] + b``; m is the largest divisor of D
    up to 32. D^2 + m D + C D + C parameters. Source: efficient probing (arXiv 2506.10178);
    m in arXiv 2509.24901 is not public. Tokens only, no [cls].
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"queries", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        n_queries = _largest_divisor(shape.n_dims, EP_QUERIES)
        self.queries = nn.Parameter(torch.randn(n_queries, shape.n_dims) * QUERY_START_STD)
        self.value = nn.Linear(shape.n_dims, shape.n_dims, bias=False)
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        value = self.value.weight.unflatten(0, (len(self.queries), -1))
        pooled = _attend(self.queries / self.queries.shape[1] ** 0.5, *maps.rows())
        logits: Tensor = self.linear(torch.einsum("bmd,mkd->bmk", pooled, value).flatten(1))
        return logits


class AbMilp(Head):
    """``abmilp``: a small network scores every token.

    ``a = softmax_t(w . tanh(V z[t] + v))``, ``logits = W sum_t a[t] z[t] + b``.
    D^2 + 2 D + C D + C parameters. Source: attention MIL (Ilse et al., ICML 2018, arXiv
    1802.04712) with D hidden units as in "Beyond [cls]" (arXiv 2412.03215), whose scoring layer
    also has a bias, without effect under a softmax. Tokens only, no [cls].
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"hidden.bias", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.hidden = nn.Linear(shape.n_dims, shape.n_dims)
        self.score = nn.Linear(shape.n_dims, 1, bias=False)
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        tokens, valid = maps.rows()
        scores = self.score(torch.tanh(self.hidden(tokens)))
        weights = _softmax(scores.transpose(1, 2), valid)
        logits: Tensor = self.linear((weights @ tokens)[:, 0])
        return logits


def _attend(queries: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
    """``sum_t softmax_t(q . z[t]) z[t]``: (Q, D) or (B, Q, D) and (B, T, D) -> (B, Q, D)."""
    return _softmax(queries @ tokens.transpose(1, 2), valid) @ tokens


def _softmax(scores: Tensor, valid: Tensor) -> Tensor:
    """Softmax over the valid tokens: (B, Q, T) and (B, T) -> (B, Q, T)."""
    return scores.masked_fill(~candidates(valid)[:, None], -torch.inf).softmax(dim=2)


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, limit + 1) if number % divisor == 0)
