"""Teach a field recorder your species: the part of edge-probe that runs on the recorder.

This module imports nothing, so that ``edge-probe --help`` stays instant on a small board.
Where things live is drawn in ``edge_probe/README.md``.
"""

__version__ = "0.1.0"
