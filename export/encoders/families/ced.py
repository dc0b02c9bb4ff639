"""CED: Dinkel et al., "CED: consistent ensemble distillation for audio tagging", ICASSP 2024.

Weights Apache-2.0, huggingface.co/mispeech. Its training code is GPL-3.0 and was not read: this is
from the description of the network in github.com/mudler/ced.cpp (MIT).
"""

from export.encoders.families.names import BLOCK
from export.encoders.family import Family, Weights
from export.encoders.front_end import mel_spectrogram
from export.encoders.grid import squares
from export.encoders.naming import Naming
from export.encoders.vit import ViT

FAMILY = Family(
    title="CED",
    weights=Weights("Apache-2.0", "yes", "huggingface.co/mispeech"),
    front_end=mel_spectrogram("batch-norm", n_fft=512, n_mels=64, range_db=120.0),
    body=ViT(
        squares(16, 64),
        norm_first=True,
        n_cls=0,
        positions="axes",
        final_norm=True,
        bands_first=True,
        released={192: (12, 3), 256: (12, 4), 384: (12, 6), 768: (12, 12)},
    ),
    namings=(
        Naming(
            "Hugging Face",
            "encoder.",
            {
                "patch": "patch_embed.proj",
                "time_positions": "time_pos_embed",
                "band_positions": "freq_pos_embed",
                "norm": "norm",
                "levels.weight": "init_bn.weight",
                "levels.bias": "init_bn.bias",
                "levels.mean": "init_bn.running_mean",
                "levels.variance": "init_bn.running_var",
                **BLOCK,
            },
            r"encoder\.init_bn\.num_batches_tracked|outputlayer\..+",
        ),
    ),
)
