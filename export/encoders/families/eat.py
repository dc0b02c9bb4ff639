"""EAT: Chen et al., "EAT: self-supervised pre-training with efficient audio transformer", 2024.

Code MIT, github.com/cwx-worst-one/EAT.
"""

from export.encoders.families.names import BLOCK
from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

FAIRSEQ = {
    "patch": "modality_encoders.IMAGE.local_encoder.proj",
    "cls": "modality_encoders.IMAGE.extra_tokens",
    "positions": "modality_encoders.IMAGE.fixed_positional_encoder.positions",
    "embedding_norm": "modality_encoders.IMAGE.context_encoder.norm",
    **BLOCK,
}
_TRAINING = (
    r"(modality_encoders\.IMAGE\.decoder|shared_decoder|recon_proj|cls_proj)\..+|center|_ema.*"
)

FAMILY = Family(
    title="EAT",
    weights=Weights("MIT", "yes", "huggingface.co/worstchan"),
    front_end=kaldi(Standard(-4.268, 2 * 4.569), "zero level"),
    body=ViT(
        squares(16, 128),
        norm_first=False,
        embedding_norm=True,
        released={768: (12, 12), 1024: (24, 16)},
    ),
    namings=(
        Naming("fairseq, pre-trained", "", FAIRSEQ, _TRAINING),
        Naming(
            "fairseq, fine-tuned", "model.", FAIRSEQ, rf"(fc_norm|head)\..+|model\.({_TRAINING})"
        ),
        Naming(
            "Hugging Face",
            "model.",
            {
                "patch": "local_encoder.proj",
                "cls": "extra_tokens",
                "positions": "fixed_positional_encoder.positions",
                "embedding_norm": "pre_norm",
                **BLOCK,
            },
            r"model\.(fc_norm|head)\..+",
        ),
    ),
)
