"""A spectrogram transformer in plain torch: one class for every family but BEATs.

After Dosovitskiy et al., "An image is worth 16x16 words", arXiv 2010.11929, with the variations
that audio families make: `ViT`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_probe.errors import EncoderError
from export.encoders.family import Wish
from export.encoders.grid import Patches
from export.encoders.naming import Named

Shapes = dict[str, tuple[int, ...]]

_HEAD_DIMS = 64
"""Of one attention head, where a family does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large one checkpoint is."""

    width: int
    """D."""
    depth: int
    hidden: int
    """Width inside the MLPs."""
    heads: int


@dataclass(frozen=True, slots=True)
class ViT:
    """In what a family's transformer differs from the others."""

    patches: Patches
    norm_first: bool
    """Layer norms stand before attention and MLP (pre-LN), or else behind each sum (post-LN)."""
    released: Mapping[int, tuple[int, int]]
    """Depth and heads by width, of the checkpoints that are published."""
    n_cls: int = 1
    """Tokens before those of the patches; the first is the encoder's global token."""
    positions: Literal["table", "axes"] = "table"
    """A row for each token, or one for its column added to one for its row."""
    cls_positions: bool = False
    """The table begins with rows for the tokens before those of the patches."""
    embedding_norm: bool = False
    """A layer norm over all tokens before the first block."""
    final_norm: bool = False
    """A layer norm behind the last block."""
    gate: bool = False
    """Attention's result is multiplied by the sigmoid of a linear layer on its input."""
    eps: float = 1e-6
    """Of the layer norms."""
    bands_first: bool = False
    """Files have patches as (bands, frames) and number tokens row by row."""

    def size(self, named: Named, wish: Wish) -> Size:
        """Read the size off the shapes in a file.

        Depth and heads are those that were published for its width, unless they are wished
        otherwise: a file that lost its last blocks is noticed.

        Raises
        ------
        EncoderError
            The file lacks a tensor that tells, or the width is no multiple of the heads.
        """
        width = named.shape("patch.bias")[0]
        hidden = named.shape("blocks.0.fc1.bias")[0]
        depth, heads = self.released.get(width, (named.n_blocks, max(1, width // _HEAD_DIMS)))
        size = Size(width, wish.depth or depth, hidden, wish.heads or heads)
        if width % size.heads:
            raise EncoderError(
                f"{named.checkpoint.path}: a width of {width} does not divide into {size.heads} "
                "heads",
                hint="say how many attention heads it was trained with: --heads N",
            )
        return size

    def max_columns(self, named: Named) -> int | None:
        """Columns that the positions in a file reach to."""
        if self.positions == "axes":
            return named.shape("time_positions")[-1]
        return (named.shape("positions")[0] - self._n_before) // self.patches.n_rows

    @property
    def _n_before(self) -> int:
        """Rows of the table that belong to no patch."""
        return self.n_cls if self.cls_positions else 0

    def shapes(self, named: Named, size: Size) -> Shapes:
        """Every tensor that `SpectrogramTransformer` is made of."""
        reach = self.max_columns(named) or 0
        if self.positions == "table":
            reach = self._n_before + reach * self.patches.n_rows
        shapes = tensor_shapes(self, size, reach)
        if self.bands_first:
            shapes["patch.weight"] = (size.width, self.patches.bands, self.patches.frames)
        for name in ("time_positions", "band_positions"):
            if name in shapes:
                shapes[name] = shapes[name][::-1]
        return shapes

    def build(self, size: Size, n_columns: int, tensors: Mapping[str, Tensor]) -> nn.Module:
        """The transformer with the tensors of a file."""
        own = dict(tensors)
        if self.bands_first:
            own["patch.weight"] = own["patch.weight"].transpose(1, 2)
        if self.bands_first and self.positions == "table":
            before, table = own["positions"].split_with_sizes(
                [self._n_before, len(own["positions"]) - self._n_before]
            )
            columns_first = table.unflatten(0, (self.patches.n_rows, -1)).transpose(0, 1)
            own["positions"] = torch.cat([before, columns_first.flatten(0, 1)])
        for name in ("time_positions", "band_positions"):
            if name in own:
                own[name] = own[name].T
        return SpectrogramTransformer(self, size, n_columns, own)


def tensor_shapes(architecture: ViT, size: Size, n_positions: int) -> Shapes:
    """Names and shapes of the tensors that `SpectrogramTransformer` is made of.

    Axes of length 1 that checkpoints have are left out.

    Parameters
    ----------
    architecture : Architecture
    size : Size
    n_positions : int
        Rows of the table, or columns that the time axis covers.
    """
    width, hidden, patches = size.width, size.hidden, architecture.patches
    shapes: Shapes = {
        "patch.weight": (width, patches.frames, patches.bands),
        "patch.bias": (width,),
    }
    if architecture.n_cls:
        shapes["cls"] = (architecture.n_cls, width) if architecture.n_cls > 1 else (width,)
    if architecture.positions == "table":
        shapes["positions"] = (n_positions, width)
    else:
        shapes["time_positions"] = (n_positions, width)
        shapes["band_positions"] = (patches.n_rows, width)
    norms = ["embedding_norm"] * architecture.embedding_norm + ["norm"] * architecture.final_norm
    for name in norms:
        shapes |= _affine(name, width)
    for n in range(size.depth):
        block = f"blocks.{n}."
        shapes |= _affine(f"{block}norm1", width) | _affine(f"{block}norm2", width)
        shapes |= _affine(f"{block}qkv", 3 * width, width) | _affine(f"{block}out", width, width)
        shapes |= _affine(f"{block}fc1", hidden, width) | _affine(f"{block}fc2", width, hidden)
        if architecture.gate:
            shapes |= _affine(f"{block}gate", width, width)
    return shapes


def _affine(name: str, n_out: int, *n_in: int) -> Shapes:
    return {f"{name}.weight": (n_out, *n_in), f"{name}.bias": (n_out,)}


class SpectrogramTransformer(nn.Module):
    """(1, n_frames, n_mels) spectrogram -> (1, n_cls + S_t * S_f, D) tokens, time-major.

    Parameters
    ----------
    architecture : Architecture
    size : Size
    n_columns : int
        S_t.
    tensors : mapping of name to tensor
        As `tensor_shapes` lists them; positions reach at least n_columns far.
    """

    positions: Tensor
    cls: Tensor

    def __init__(
        self,
        architecture: ViT,
        size: Size,
        n_columns: int,
        tensors: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        patches, width = architecture.patches, size.width
        self.patch = nn.Conv2d(1, width, patches.shape, stride=patches.stride)
        self.embedding_norm = (
            nn.LayerNorm(width, architecture.eps) if architecture.embedding_norm else nn.Identity()
        )
        self.blocks = nn.Sequential(*(_Block(architecture, size) for _ in range(size.depth)))
        self.norm = (
            nn.LayerNorm(width, architecture.eps) if architecture.final_norm else nn.Identity()
        )
        own = dict(tensors)
        own["patch.weight"] = own["patch.weight"].reshape(width, 1, *patches.shape)
        cls, positions = _place(architecture, n_columns, own)
        self.register_buffer("cls", cls, persistent=False)
        self.register_buffer("positions", positions, persistent=False)
        self.load_state_dict(own)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Tokens of one chunk."""
        x = self.patch(spectrogram[:, None]).flatten(2).transpose(1, 2) + self.positions
        x = self.embedding_norm(torch.cat([self.cls, x], dim=1))
        tokens: Tensor = self.norm(self.blocks(x))
        return tokens


def _place(architecture: ViT, n_columns: int, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Take positions and [cls] out of the tensors: (1, n_cls, D), (1, S_t * S_f, D)."""
    n_cls, n_rows = architecture.n_cls, architecture.patches.n_rows
    if architecture.positions == "axes":
        columns, rows = tensors.pop("time_positions"), tensors.pop("band_positions")
        positions = (columns[:n_columns, None] + rows).flatten(0, 1)
        before = positions.new_zeros(n_cls, positions.shape[1])
    else:
        table = tensors.pop("positions")
        n_before = n_cls if architecture.cls_positions else 0
        before, positions = table[:n_before], table[n_before : n_before + n_columns * n_rows]
    cls = tensors.pop("cls", positions.new_zeros(0)).reshape(n_cls, positions.shape[1])
    return (cls + before if len(before) else cls)[None], positions[None]


class _Block(nn.Module):
    def __init__(self, architecture: ViT, size: Size) -> None:
        super().__init__()
        width = size.width
        self.heads, self.norm_first = size.heads, architecture.norm_first
        self.norm1 = nn.LayerNorm(width, architecture.eps)
        self.norm2 = nn.LayerNorm(width, architecture.eps)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, size.hidden), nn.Linear(size.hidden, width)
        self.gate = nn.Linear(width, width) if architecture.gate else None

    def forward(self, x: Tensor) -> Tensor:
        if self.norm_first:
            x = x + self._attention(self.norm1(x))
            return x + self._mlp(self.norm2(x))
        x = self.norm1(x + self._attention(x))
        return self.norm2(x + self._mlp(x))  # type: ignore[no-any-return]

    def _attention(self, x: Tensor) -> Tensor:
        batch, n_tokens, width = x.shape
        split = self.qkv(x).reshape(batch, n_tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        near = (query * (width // self.heads) ** -0.5) @ key.transpose(-2, -1)
        mixed = (near.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, n_tokens, width)
        if self.gate is not None:
            mixed = mixed * self.gate(x).sigmoid()
        return self.out(mixed)  # type: ignore[no-any-return]

    def _mlp(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]
