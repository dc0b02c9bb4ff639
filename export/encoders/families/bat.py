"""BAT: Ghaffari et al., "BAT: better audio transformer guided by convex gated probing", 2026.

Code MIT, github.com/houtan-ghaffari/BAT_ICML2026.
"""

from export.encoders.families.names import TIMM
from export.encoders.family import Family, Weights
from export.encoders.front_end import mel_spectrogram
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

_KEYS = {**TIMM, "embedding_norm": "pre_norm", "blocks.#.gate": "blocks.#.attn.gate"}

FAMILY = Family(
    title="BAT",
    weights=Weights("MIT", "yes", "huggingface.co/lrauch/BAT-vit-b16-pretrainedAS2M"),
    front_end=mel_spectrogram("min-max", n_fft=1024, n_mels=128, range_db=80.0),
    body=ViT(
        squares(16, 128),
        norm_first=False,
        embedding_norm=True,
        gate=True,
        released={768: (12, 12)},
    ),
    namings=(
        Naming("pre-training", "student.encoder.", _KEYS, r"(?!student\.encoder\.).+"),
        Naming("encoder", "", _KEYS, r"head\..+"),
    ),
    note="each chunk is scaled to 0..1 by its own lowest and highest level",
)
