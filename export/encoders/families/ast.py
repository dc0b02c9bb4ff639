"""AST: Gong et al., "AST: audio spectrogram transformer", Interspeech 2021.

Weights BSD-3-Clause, huggingface.co/MIT, in the layouts of transformers 4 and 5. Patches overlap:
16 x 16 every 10 frames and 10 bands. Tokens are those behind the last norm, as in transformers.
"""

from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

_MODEL: dict[str, str | tuple[str, ...]] = {
    "patch": "embeddings.patch_embeddings.projection",
    "cls": ("embeddings.cls_token", "embeddings.distillation_token"),
    "positions": "embeddings.position_embeddings",
    "norm": "layernorm",
}
_TRANSFORMERS_4: dict[str, str | tuple[str, ...]] = {
    **_MODEL,
    "blocks.#.norm1": "encoder.layer.#.layernorm_before",
    "blocks.#.qkv": tuple(
        f"encoder.layer.#.attention.attention.{part}" for part in ("query", "key", "value")
    ),
    "blocks.#.out": "encoder.layer.#.attention.output.dense",
    "blocks.#.norm2": "encoder.layer.#.layernorm_after",
    "blocks.#.fc1": "encoder.layer.#.intermediate.dense",
    "blocks.#.fc2": "encoder.layer.#.output.dense",
}
_TRANSFORMERS_5: dict[str, str | tuple[str, ...]] = {
    **_MODEL,
    "blocks.#.norm1": "layers.#.layernorm_before",
    "blocks.#.qkv": tuple(f"layers.#.attention.{part}_proj" for part in "qkv"),
    "blocks.#.out": "layers.#.attention.o_proj",
    "blocks.#.norm2": "layers.#.layernorm_after",
    "blocks.#.fc1": "layers.#.mlp.fc1",
    "blocks.#.fc2": "layers.#.mlp.fc2",
}
_PREFIX, _HEAD = "audio_spectrogram_transformer.", r"classifier\..+"

FAMILY = Family(
    title="AST",
    weights=Weights("BSD-3-Clause", "yes", "huggingface.co/MIT"),
    front_end=kaldi(Standard(-4.2677393, 2 * 4.5689974), "zero level"),
    body=ViT(
        squares(16, 128, 10),
        norm_first=True,
        n_cls=2,
        cls_positions=True,
        final_norm=True,
        bands_first=True,
        eps=1e-12,
        released={768: (12, 12)},
    ),
    namings=(
        Naming("transformers 4", _PREFIX, _TRANSFORMERS_4, _HEAD),
        Naming("transformers 5", _PREFIX, _TRANSFORMERS_5, _HEAD),
    ),
)
