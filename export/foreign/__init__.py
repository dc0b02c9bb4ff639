"""Heads that others trained: read without running their code, and computed as they were trained."""

from edge_probe.errors import EdgeProbeError


class CheckpointError(EdgeProbeError):
    """A file that holds no head, or one whose function a bundle cannot compute."""
