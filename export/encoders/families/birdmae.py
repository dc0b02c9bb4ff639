"""Bird-MAE: Rauch et al., "Can masked autoencoders also listen to birds?", 2025.

github.com/DBD-research-group/Bird-MAE states no licence; nothing of the code is here. Tokens are
those of the last block without a norm. Its authors pad with the lowest level of a whole batch; the
chunk's own stands in for it here.
"""

from export.encoders.families.names import TIMM
from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

FAMILY = Family(
    title="Bird-MAE",
    weights=Weights("not stated", "not stated", "huggingface.co/DBD-research-group"),
    front_end=kaldi(Standard(-7.2, 2 * 4.43), "lowest level", sample_rate_hz=32_000),
    body=ViT(
        squares(16, 128),
        norm_first=True,
        cls_positions=True,
        released={768: (12, 12), 1024: (24, 16), 1280: (32, 16)},
    ),
    namings=(
        Naming("timm", "", TIMM, r"(norm|fc_norm|head)\..+"),
        Naming("pre-training", "encoder.", TIMM, r"encoder\.norm\..+|decoder\..+"),
    ),
)
