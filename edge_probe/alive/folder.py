"""Where a recorder's state folder is if nobody says otherwise."""

from pathlib import Path

DEFAULT_STATE = Path("/var/lib/edge-probe")
"""What systemd makes for a service with ``StateDirectory=edge-probe`` (systemd.exec(5))."""
