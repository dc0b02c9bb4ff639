"""SSLAM: Alex et al., "SSLAM: ... audio mixtures for polyphonic soundscapes", ICLR 2025.

EAT's network and files with other weights. Code MIT, github.com/ta012/SSLAM.
"""

from dataclasses import replace

from export.encoders.families import eat
from export.encoders.family import Weights

FAMILY = replace(
    eat.FAMILY, title="SSLAM", weights=Weights("MIT", "yes", "huggingface.co/ta012/SSLAM_pretrain")
)
