"""BEATs, iterations 1 to 3. Code MIT, github.com/microsoft/unilm/tree/master/beats."""

from export.encoders.beats import BeatsBody
from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.naming import Naming

_KEYS = {
    "patch.weight": "patch_embedding.weight",
    "embedding_norm": "layer_norm",
    "project": "post_extract_proj",
    "near.scale": "encoder.pos_conv.0.weight_g",
    "near.direction": "encoder.pos_conv.0.weight_v",
    "near.bias": "encoder.pos_conv.0.bias",
    "norm": "encoder.layer_norm",
    "bias_table": "encoder.layers.0.self_attn.relative_attention_bias.weight",
    "blocks.#.query": "encoder.layers.#.self_attn.q_proj",
    "blocks.#.key": "encoder.layers.#.self_attn.k_proj",
    "blocks.#.value": "encoder.layers.#.self_attn.v_proj",
    "blocks.#.out": "encoder.layers.#.self_attn.out_proj",
    "blocks.#.gate": "encoder.layers.#.self_attn.grep_linear",
    "blocks.#.gate_scale": "encoder.layers.#.self_attn.grep_a",
    "blocks.#.norm1": "encoder.layers.#.self_attn_layer_norm",
    "blocks.#.norm2": "encoder.layers.#.final_layer_norm",
    "blocks.#.fc1": "encoder.layers.#.fc1",
    "blocks.#.fc2": "encoder.layers.#.fc2",
}

FAMILY = Family(
    title="BEATs",
    weights=Weights("MIT", "yes", "github.com/microsoft/unilm/tree/master/beats"),
    front_end=kaldi(Standard(15.41663, 2 * 6.55582), "zero", window="povey", gain=2.0**15),
    body=BeatsBody(released={768: 12}),
    namings=(
        Naming(
            "Microsoft",
            "",
            _KEYS,
            # every layer repeats the table of the first, which they share
            r"encoder\.layers\.\d+\.self_attn\.relative_attention_bias\.weight|predictor\..+",
        ),
    ),
)
