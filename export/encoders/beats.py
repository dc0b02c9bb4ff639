"""BEATs in plain torch: the family that no flag of the other transformer describes.

Chen et al., "BEATs: audio pre-training with acoustic tokenizers", arXiv 2212.09058: positions by a
grouped convolution and by a gated relative bias, residuals weighted as in DeepNorm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_probe.errors import EncoderError
from export.encoders.family import Wish
from export.encoders.grid import Patches
from export.encoders.naming import Named

PATCHES = Patches(16, 16, 128, 16, 16)

_MAX_DISTANCE = 800
"""Tokens from which on all distances share one bias; no tensor tells it, every release has it."""
_EPS = 1e-5
_AS_PUBLISHED = {
    "deep_norm": True, "layer_norm_first": False, "gru_rel_pos": True,
    "relative_position_embedding": True, "max_distance": _MAX_DISTANCE, "input_patch_size": 16,
    "activation_fn": "gelu",
}  # fmt: skip
"""What files say beside their tensors, and no tensor shows."""
_GATES = 2


@dataclass(frozen=True, slots=True)
class BeatsSize:
    """How large a checkpoint is."""

    width: int
    depth: int
    hidden: int
    heads: int
    embedding: int
    """Width of a patch before it is projected."""
    buckets: int
    """Of relative distances."""
    kernel: int
    """Tokens that the convolution of positions reaches over."""
    groups: int
    """Of that convolution."""


@dataclass(frozen=True, slots=True)
class BeatsBody:
    """BEATs for any size."""

    released: Mapping[int, int]
    """Depth by width, of the checkpoints that are published."""
    patches: Patches = PATCHES
    n_cls: int = 0

    def size(self, named: Named, wish: Wish) -> BeatsSize:
        """Read the size off the shapes in a file, and check what it says of its architecture.

        Raises
        ------
        EncoderError
            The file lacks a tensor that tells, or is a variant of BEATs that was never published.
        """
        for fact, value in _AS_PUBLISHED.items():
            found = named.checkpoint.facts.get(fact, value)
            if found != value:
                raise EncoderError(
                    f"{named.checkpoint.path}: expected a BEATs with {fact} = {value}, "
                    f"found {found}",
                    hint="edge-probe computes BEATs as its authors published it",
                )
        _check_shared(named)
        width, groups_width, kernel = named.shape("near.direction")
        (heads,) = named.shape("blocks.0.gate_scale") or (1,)
        if wish.heads not in (None, heads):
            raise EncoderError(
                f"{named.checkpoint.path}: has {heads} heads, not {wish.heads}",
                hint="leave out --heads: the file tells",
            )
        depth = self.released.get(width, named.n_blocks)
        return BeatsSize(
            width=width,
            depth=wish.depth or depth,
            hidden=named.shape("blocks.0.fc1.bias")[0],
            heads=heads,
            embedding=named.shape("embedding_norm.bias")[0],
            buckets=named.shape("bias_table")[0],
            kernel=kernel,
            groups=width // groups_width,
        )

    def max_columns(self, named: Named) -> int | None:
        """Any number: positions are relative."""
        return None

    def shapes(self, named: Named, size: BeatsSize) -> dict[str, tuple[int, ...]]:
        """Every tensor that `Beats` is made of."""
        return beats_shapes(size)

    def build(self, size: BeatsSize, n_columns: int, tensors: Mapping[str, Tensor]) -> nn.Module:
        """The transformer with the tensors of a file."""
        return Beats(size, n_columns, tensors)


def _check_shared(named: Named) -> None:
    """Every layer repeats the table of the first; refuse a file in which they differ."""
    (first,) = named.naming.theirs("bias_table")
    ending = first.rpartition("0")[2]
    tensors = named.checkpoint.tensors
    for key in (key for key in tensors if key.endswith(ending)):
        if not torch.equal(tensors[key], tensors.get(first, tensors[key])):
            raise EncoderError(
                f"{named.checkpoint.path}: {key} differs from {first}, which all layers share",
                hint="edge-probe computes BEATs as its authors published it",
            )


def beats_shapes(size: BeatsSize) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of `Beats`, axes of length 1 left out."""
    width, hidden = size.width, size.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "patch.weight": (size.embedding, *PATCHES.shape),
        "embedding_norm.weight": (size.embedding,), "embedding_norm.bias": (size.embedding,),
        "project.weight": (width, size.embedding), "project.bias": (width,),
        "near.scale": (size.kernel,),
        "near.direction": (width, width // size.groups, size.kernel),
        "near.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
        "bias_table": (size.buckets, size.heads),
    }  # fmt: skip
    for n in range(size.depth):
        linear = {"query": (width, width), "key": (width, width), "value": (width, width),
                  "out": (width, width), "fc1": (hidden, width), "fc2": (width, hidden),
                  "gate": (4 * _GATES, width // size.heads)}  # fmt: skip
        for name, shape in linear.items():
            shapes |= {f"blocks.{n}.{name}.weight": shape, f"blocks.{n}.{name}.bias": shape[:1]}
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{n}.{name}.{part}": (width,) for part in ("weight", "bias")}
        shapes[f"blocks.{n}.gate_scale"] = (size.heads,)
    return shapes


class Beats(nn.Module):
    """(1, n_frames, 128) spectrogram -> (1, S_t * 8, D) tokens, time-major; there is no [cls].

    Parameters
    ----------
    size : BeatsSize
    n_columns : int
        S_t.
    tensors : mapping of name to tensor
        As `beats_shapes` lists them.
    """

    distance_bias: Tensor

    def __init__(self, size: BeatsSize, n_columns: int, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        own = dict(tensors)
        self.patch = nn.Conv2d(1, size.embedding, PATCHES.shape, PATCHES.stride, bias=False)
        self.embedding_norm = nn.LayerNorm(size.embedding, _EPS)
        self.project = nn.Linear(size.embedding, size.width)
        self.near = nn.Conv1d(
            size.width, size.width, size.kernel, padding=size.kernel // 2, groups=size.groups
        )
        self.norm = nn.LayerNorm(size.width, _EPS)
        self.blocks = nn.ModuleList(_Block(size) for _ in range(size.depth))
        bias = distance_bias(own.pop("bias_table"), n_columns * PATCHES.n_rows)
        self.register_buffer("distance_bias", bias, persistent=False)
        own["patch.weight"] = own["patch.weight"][:, None]
        own["near.weight"] = _unit(own.pop("near.direction")) * own.pop("near.scale")
        for name in [name for name in own if ".gate." in name]:  # they are only used as sums of 4
            own[name] = own[name].unflatten(0, (_GATES, 4)).sum(dim=1)
        self.load_state_dict(own)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Tokens of one chunk."""
        x = self.patch(spectrogram[:, None]).flatten(2).transpose(1, 2)
        x = self.project(self.embedding_norm(x))
        near = self.near(x.transpose(1, 2))[:, :, : x.shape[1]]  # an even kernel gives one more
        x = self.norm(x + functional.gelu(near).transpose(1, 2))
        for block in self.blocks:
            x = block(x, self.distance_bias)
        tokens: Tensor = x
        return tokens


def _unit(direction: Tensor) -> Tensor:
    """Weight norm over all channels, for each place of the kernel."""
    return direction / direction.square().sum(dim=(0, 1), keepdim=True).sqrt()


def distance_bias(table: Tensor, n_tokens: int) -> Tensor:
    """Bias of attention by the signed distance of two tokens, T5's buckets (arXiv 1910.10683).

    Parameters
    ----------
    table : (buckets, heads)
    n_tokens : int

    Returns
    -------
    (heads, n_tokens, n_tokens)
        Rows ask, columns answer.
    """
    half = len(table) // 2
    exact = half // 2
    places = torch.arange(n_tokens)
    ahead = places[None] - places[:, None]
    distance = ahead.abs()
    growth = (distance.clamp(min=1).float() / exact).log() / math.log(_MAX_DISTANCE / exact)
    coarse = (exact + (growth * (half - exact)).long()).clamp(max=half - 1)
    bucket = torch.where(distance < exact, distance, coarse) + half * (ahead > 0)
    return table[bucket].permute(2, 0, 1).contiguous()


class _Block(nn.Module):
    def __init__(self, size: BeatsSize) -> None:
        super().__init__()
        width, self.heads = size.width, size.heads
        self.keep = (2 * size.depth) ** 0.25  # DeepNorm, arXiv 2203.00555
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = nn.Linear(width // size.heads, _GATES)
        self.gate_scale = nn.Parameter(torch.ones(size.heads))
        self.norm1, self.norm2 = nn.LayerNorm(width, _EPS), nn.LayerNorm(width, _EPS)
        self.fc1, self.fc2 = nn.Linear(width, size.hidden), nn.Linear(size.hidden, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = self.norm1(x * self.keep + self._attention(x, bias))
        mixed = self.fc2(functional.gelu(self.fc1(x)))
        out: Tensor = self.norm2(x * self.keep + mixed)
        return out

    def _attention(self, x: Tensor, bias: Tensor) -> Tensor:
        batch, n_tokens, width = x.shape
        query, key, value = (
            layer(x).reshape(batch, n_tokens, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        update, reset = self.gate(query).sigmoid().chunk(2, dim=-1)
        gate = update * (reset * self.gate_scale[:, None, None] - 1) + 2
        near = (query * (width // self.heads) ** -0.5) @ key.transpose(-2, -1) + gate * bias
        mixed = (near.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, n_tokens, width)
        return self.out(mixed)  # type: ignore[no-any-return]
