"""From a plan to a folder."""

import shutil
from pathlib import Path

from firmware_tools.stage.plan import Plan


def write_tree(plan: Plan, root: Path) -> None:
    """Write what is planned, with modes that no umask has a say in.

    Parameters
    ----------
    plan : Plan
    root : Path
        Does not exist yet.
    """
    root.mkdir()
    for file in plan.files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file.source, bytes):
            path.write_bytes(file.source)
        else:
            shutil.copyfile(file.source, path)
        path.chmod(file.mode)
    for link in plan.links:
        path = root / link.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link.target)
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
