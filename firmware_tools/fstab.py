"""What /etc/fstab wants mounted (fstab(5))."""

import os
import re


def plain(text: str) -> str:
    r"""Blanks and the like stand there, and in the kernel's tables, as ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_points(text: str) -> set[str]:
    """Folders that the lines of the file name."""
    entries = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return {os.path.normpath(plain(entry[1])) for entry in entries if len(entry) >= 3}
