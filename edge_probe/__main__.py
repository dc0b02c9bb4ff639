"""``python -m edge_probe`` is ``edge-probe``."""

import sys

from edge_probe.cli import main

sys.exit(main())
