"""Dasheng: Dinkel et al., "Scaling up masked audio encoder learning", Interspeech 2024.

Code Apache-2.0, github.com/XiaoMi/dasheng. One token is 4 frames of the whole spectrogram.
"""

from export.encoders.families.names import BLOCK
from export.encoders.family import Family, Weights
from export.encoders.front_end import mel_spectrogram
from export.encoders.grid import Patches
from export.encoders.naming import Naming
from export.encoders.vit import ViT

_KEYS = {
    "patch": "patch_embed.proj",
    "time_positions": "time_pos_embed",
    "band_positions": "freq_pos_embed",
    "norm": "norm",
    "levels.weight": "init_bn.1.weight",
    "levels.bias": "init_bn.1.bias",
    "levels.mean": "init_bn.1.running_mean",
    "levels.variance": "init_bn.1.running_var",
    **BLOCK,
}
_BUFFERS = r"(encoder\.)?(init_bn\.1\.num_batches_tracked|front_end\..+)"

FAMILY = Family(
    title="Dasheng",
    weights=Weights("Apache-2.0", "yes", "huggingface.co/mispeech"),
    front_end=mel_spectrogram("batch-norm", n_fft=512, n_mels=64, range_db=120.0),
    body=ViT(
        Patches(4, 64, 64, 4, 64),
        norm_first=True,
        n_cls=0,
        positions="axes",
        final_norm=True,
        bands_first=True,
        released={768: (12, 12), 1280: (32, 16), 1536: (40, 24)},
    ),
    namings=(
        Naming("PyPI dasheng", "", _KEYS, _BUFFERS),
        Naming("Hugging Face", "encoder.", _KEYS, rf"{_BUFFERS}|outputlayer\..+"),
    ),
)
