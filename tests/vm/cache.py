"""What takes minutes to make is made once: folders named after everything they were made from."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-probe-vm"


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of steps.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    folder: Path

    def step(self, name: str, inputs: Iterable[str | bytes], make: Callable[[Path], None]) -> Path:
        """The folder of a step, made now unless the same inputs made one before.

        Parameters
        ----------
        name : str
            Folders of the same name and other inputs are removed.
        inputs : iterable of str or bytes
            Everything the result depends on.
        make : callable
            Fills an empty folder; when it is interrupted, the next run begins it anew.
        """
        digest = hashlib.sha256()
        for value in inputs:
            data = value.encode() if isinstance(value, str) else value
            digest.update(len(data).to_bytes(8, "big") + data)
        target = self.folder / f"{name}-{digest.hexdigest()[:12]}"
        if target.is_dir():
            return target
        say(f"{name}: making it")
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        for old in self.folder.glob(f"{name}-{'?' * 12}"):
            shutil.rmtree(old)
        part.rename(target)
        return target


def say(text: str) -> None:
    """Tell how far it is; the time is that of the clock on the wall."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def call(
    command: Sequence[str | Path], *, timeout_s: float, cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """What a command prints; what it says of its errors is shown if it fails.

    Raises
    ------
    SystemExit
        It failed or took too long.
    """
    words = list(map(str, command))
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SystemExit(f"{' '.join(words)}: not done after {timeout_s:.0f} s") from None
    if done.returncode:
        tail = (done.stdout + done.stderr)[-4000:]
        raise SystemExit(f"{' '.join(words)}: status {done.returncode}\n{tail}")
    return done.stdout
