"""ASiT: Atito et al., "ASiT: local-global audio spectrogram vision transformer", 2024.

github.com/Sara-Ahmed/ASiT states no licence; nothing of the code is here.
"""

from export.encoders.families.names import TIMM
from export.encoders.family import Family, Weights
from export.encoders.front_end import Standard, kaldi
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

_KEYS = {**TIMM, "norm": "norm"}

FAMILY = Family(
    title="ASiT",
    weights=Weights("not stated", "not stated", "github.com/Sara-Ahmed/ASiT"),
    front_end=kaldi(Standard(-4.2677393, 2 * 4.5689974), "zero level", sample_rate_hz=32_000),
    body=ViT(
        squares(16, 128),
        norm_first=True,
        cls_positions=True,
        final_norm=True,
        released={384: (12, 6), 768: (12, 12)},
    ),
    namings=(
        Naming("teacher", "backbone.", _KEYS, r"head_(cls|recons)\..+"),
        Naming("encoder", "", _KEYS, r"head\..+"),
    ),
    note="32 kHz as in its authors' code; other descriptions say 16 kHz, and no weights are public",
)
