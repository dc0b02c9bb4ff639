"""Teach a field recorder your species: the part of edge-probe that runs on the recorder.

This module imports next to nothing, so that ``edge-probe --help`` stays instant on a small board.
Where things live is drawn in ``edge_probe/README.md``.
"""

import os

__version__ = "0.1.0"

# onnxruntime (1.32) otherwise keeps a device id and a database under $HOME, and sends what they
# hold to its maker. It reads this when it is imported, which is later, and in children too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
