"""Heads that pool the token map by a mean, a maximum or the encoder's own [cls] token."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.heads.head import Head, candidates
from export.heads.maps import MapShape, TokenMaps
from export.heads.maxima import MaxSimilarity

HIDDEN_UNITS = 512
"""Of ``mlp``: the hidden layer of Bird-MAE's probe (arXiv 2504.12880)."""
HIDDEN_CHANNELS = 256
"""Of ``conv``: ours."""


class SummaryLinear(Head):
    """``linear``: ``logits = W summary + b``; the summary is [cls], or the mean token without one.

    C D_cls + C parameters (C D + C without [cls]). Source: the linear probe of arXiv 2509.24901.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.linear = nn.Linear(shape.n_cls or shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.linear(maps.summary())
        return logits


class MeanLinear(Head):
    """``linear-mean``: ``logits = W mean_t z[t] + b`` over valid tokens, [cls] or not.

    C D + C parameters. Source: issue 4; what a device runs as ``mean-linear``.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.linear(maps.mean())
        return logits


class SummaryMlp(Head):
    """``mlp``: ``logits = W2 relu(W1 summary + b1) + b2``, the summary that of ``linear``.

    With H = 512 hidden units H D_cls + H + C H + C parameters. Source: arXiv 2509.24901 names two
    layers; H and the ReLU are those of Bird-MAE's probe, by some of the same authors.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"hidden.bias", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.hidden = nn.Linear(shape.n_cls or shape.n_dims, HIDDEN_UNITS)
        self.linear = nn.Linear(HIDDEN_UNITS, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.linear(functional.relu(self.hidden(maps.summary())))
        return logits


class ConcatLinear(Head):
    """``linearc``: ``logits = W [cls ; mean_t z[t]] + b``; without [cls] ``[max_t z[t] ; mean]``.

    C (D_cls + D) + C parameters (2 C D + C without [cls]). Definition inferred: of arXiv 2509.24901
    we know name and results; c read as concatenation, the usual linear probe with patch tokens
    (DINOv2, arXiv 2304.07193), which agrees with its modest lead over ``linear`` (with EAT 21.9
    against 17.3 on as20k, 78.5 against 77.8 on urban). The other reading, all tokens or all
    frequency bands concatenated, would need clips or maps of one size.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.linear = nn.Linear((shape.n_cls or shape.n_dims) + shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        first = _max_token(maps) if maps.cls is None else maps.cls
        logits: Tensor = self.linear(torch.cat([first, maps.mean()], dim=1))
        return logits


class TokenConv(Head):
    """``conv``: ``logits = W mean_t relu(K * z + b1)[t] + b2``, K 3 x 3 over (S_t, S_f), H = 256.

    9 D H + H + C H + C parameters. Definition inferred: of arXiv 2509.24901 we know name
    and results. Padding tokens are zero, as is the border of the convolution, so a valid token's
    neighbourhood is the same with and without padding; what the kernel writes onto padding is not
    averaged.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"conv.bias", "linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape.n_dims, HIDDEN_CHANNELS, kernel_size=3, padding=1)
        self.linear = nn.Linear(HIDDEN_CHANNELS, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        heard = functional.relu(self.conv(maps.tokens)) * maps.valid[:, None]
        logits: Tensor = self.linear(replace(maps, tokens=heard).mean())
        return logits


class TokenLinear(Head):
    """``linpre``: ``logits[c] = max_t (W z[t])[c] + b[c]``: linear first, then pooled.

    C D + C parameters. Definition inferred: of arXiv 2509.24901 we know name and results; read
    as a linear layer before the pooling. Pooled by the mean it would be ``linear-mean``, which
    ``linearc`` contains, but it is reported well above that (with EAT 26.5 against 21.9 on
    as20k); so by the maximum, as in the paper's own heads.
    """

    no_decay: ClassVar[frozenset[str]] = frozenset({"linear.bias"})

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.linear = nn.Linear(shape.n_dims, shape.n_classes)

    def forward(self, maps: TokenMaps) -> Tensor:
        """Logits (B, C)."""
        tokens, valid = maps.rows()
        best: Tensor = MaxSimilarity.apply(tokens, self.linear.weight, valid)
        return best + self.linear.bias


def _max_token(maps: TokenMaps) -> Tensor:
    """Largest value of each dimension among the valid tokens; zero where there is none: (B, D)."""
    tokens, valid = maps.rows()
    return tokens.masked_fill(~candidates(valid)[..., None], -torch.inf).amax(dim=1)
