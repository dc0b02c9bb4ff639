"""One HTML file of the parts beside this module: markup, style, scripts and data.

Nothing in it may reach a network: the policy in its head allows its own style and scripts, by
their hashes, and sound and pictures from the disk.
"""

import json
from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_probe import __version__

SCRIPTS = (
    "dom.js", "data.js", "charts.js", "filters.js", "overview.js", "detections.js",
    "health.js", "clips.js", "verdicts.js", "review.js", "main.js",
)  # fmt: skip
"""In one scope, in this order."""


def packed(column: NDArray[Any]) -> str:
    """Numbers as base64, little-endian."""
    return b64encode(column.astype(column.dtype.newbyteorder("<")).tobytes()).decode()


def write_page(path: Path, data: dict[str, Any], made_utc: datetime) -> int:
    """Write it; its size in bytes.

    Parameters
    ----------
    path : Path
    data : dict
        What the scripts read; the page is known by its content, not by when it was made.
    made_utc : datetime
    """
    content = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    head = {
        "id": sha256(content.encode()).hexdigest()[:32],
        "made_utc": made_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": __version__,
    }
    script = '(() => {\n"use strict";\n' + "".join(map(_part, SCRIPTS)) + "})();\n"
    parts = {
        "policy": _policy(script, style := _part("style.css")),
        "style": style,
        "script": script,
        "about": _safe(json.dumps(head)),
        "data": _safe(content),
    }
    pieces = _part("page.html").split("@@")  # text and names in turn
    page = "".join(parts[piece] if n % 2 else piece for n, piece in enumerate(pieces))
    return path.write_bytes(page.encode())


def _policy(script: str, style: str) -> str:
    """No network; of files those beside the page."""
    local = "'self' file: data:"
    return "; ".join((
        "default-src 'none'", f"script-src '{_hash(script)}'", f"style-src '{_hash(style)}'",
        f"img-src {local}", f"media-src {local}", "base-uri 'none'", "form-action 'none'",
    ))  # fmt: skip


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _safe(text: str) -> str:
    """JSON in which no tag, comment or end of a line can be seen by anybody but its reader."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
