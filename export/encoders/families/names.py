"""Names of tensors that several families share."""

from collections.abc import Mapping
from types import MappingProxyType

BLOCK: Mapping[str, str] = MappingProxyType({
    "blocks.#.norm1": "blocks.#.norm1",
    "blocks.#.qkv": "blocks.#.attn.qkv",
    "blocks.#.out": "blocks.#.attn.proj",
    "blocks.#.norm2": "blocks.#.norm2",
    "blocks.#.fc1": "blocks.#.mlp.fc1",
    "blocks.#.fc2": "blocks.#.mlp.fc2",
})  # fmt: skip
"""One transformer block of timm, which most audio transformers descend from."""

TIMM: Mapping[str, str] = MappingProxyType({
    "patch": "patch_embed.proj",
    "cls": "cls_token",
    "positions": "pos_embed",
    **BLOCK,
})  # fmt: skip
"""timm's VisionTransformer up to the last block."""
