"""Audio-MAE: Huang et al., "Masked autoencoders that listen", NeurIPS 2022.

Code and weights CC BY-NC 4.0, github.com/facebookresearch/AudioMAE; nothing of the code is here.
Tokens are those of the last block without a norm, as its authors pool them.
"""

from export.encoders.families.names import TIMM
from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

FAMILY = Family(
    title="Audio-MAE",
    weights=Weights("CC BY-NC 4.0", "no", "github.com/facebookresearch/AudioMAE"),
    front_end=kaldi(Standard(-4.2677393, 2 * 4.5689974), "zero level"),
    body=ViT(squares(16, 128), norm_first=True, cls_positions=True, released={768: (12, 12)}),
    namings=(Naming("timm", "", TIMM, r"(norm|fc_norm|head)\..+|decoder_.+|mask_token"),),
)
