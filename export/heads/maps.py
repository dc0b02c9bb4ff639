"""What every head reads: the token maps of a batch of clips."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class MapShape:
    """Sizes that a head is built for; S_t is free, for clips differ in length."""

    n_dims: int
    """D"""
    n_freq: int
    """S_f"""
    n_classes: int
    """C"""
    n_cls: int = 0
    """Components of the encoder's [cls] token; 0 where it has none."""


@dataclass(frozen=True, slots=True)
class TokenMaps:
    """One token map per clip: the maps of its chunks, one behind the other in time."""

    tokens: Tensor
    """(B, D, S_t, S_f) float32; zero where not valid."""
    valid: Tensor
    """(B, S_t, S_f) bool; False for padding, which no head may hear."""
    cls: Tensor | None = None
    """(B, D_cls) float32: the mean [cls] token of the clip's chunks."""

    def rows(self) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, D) and valid (B, T), ``t = i_time * S_f + i_freq``."""
        return self.tokens.flatten(2).transpose(1, 2), self.valid.flatten(1)

    def mean(self) -> Tensor:
        """Mean of the valid tokens; zero where there is none: (B, D)."""
        total = self.tokens.flatten(2).sum(dim=2)
        return total / self.valid.flatten(1).sum(dim=1, keepdim=True).clamp(min=1)

    def summary(self) -> Tensor:
        """[cls] where the encoder has one, else the mean token: (B, D_cls or D)."""
        return self.mean() if self.cls is None else self.cls
