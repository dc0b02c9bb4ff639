"""``python -m export`` is ``edge-export``."""

import sys

from export.cli import main

sys.exit(main())
