"""The workstation side: clips in, a trained, packed, calibrated and signed bundle out."""
