"""``python -m firmware_tools`` is ``edge-firmware``."""

import sys

from firmware_tools.cli import main

sys.exit(main())
