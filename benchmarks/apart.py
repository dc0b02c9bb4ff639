"""A measurement in a process of its own: nothing that another one loaded counts for it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import ONE_THREAD

HERE = Path(__file__).parent


def apart(script: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a script of this folder with a request; one BLAS thread.

    Parameters
    ----------
    script : str
        Its file name. It gets the request as JSON, and prints one JSON object.
    request : mapping

    Raises
    ------
    SystemExit
        It failed: nothing of it is measured.
    """
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, HERE / script, json.dumps(request)],
        env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{script} {request}: ended with {done.returncode}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
