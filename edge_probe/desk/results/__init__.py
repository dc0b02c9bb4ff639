"""Detections in the formats that other programs read: one module a format.

Each is a pure function of what was recorded: from a `Selection` of detections to a text, a file or
a folder. What a format has no room for is left out and counted, never told as something else.
"""

import importlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

from edge_probe.desk.fresh import fresh_file, fresh_folder
from edge_probe.desk.results.selection import Selection


class Form(Enum):
    """What a format is written into."""

    TEXT = "text"
    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Format:
    """A format and the module that writes it."""

    module: str
    form: Form
    about: str

    def write(self, selection: Selection, out: TextIO | Path) -> None:
        """Into an open text, a file that does not exist yet, or an empty folder.

        Raises
        ------
        EdgeProbeError
            The archive cannot be read, or holds what the format cannot tell.
        OSError
            The disk fails.
        """
        module: Any = importlib.import_module(f"{__name__}.{self.module}")
        with closing(selection):
            module.write(selection, out)


FORMATS: Mapping[str, Format] = {
    "birdnet": Format("birdnet", Form.TEXT, "CSV as of BirdNET-Analyzer"),
    "raven": Format("raven", Form.FOLDER, "selection tables and file lists for Raven Pro"),
    "audacity": Format("audacity", Form.FOLDER, "a label track for each file"),
    "kaleidoscope": Format(
        "kaleidoscope", Form.TEXT, "CSV for Kaleidoscope (not verified in Kaleidoscope)"
    ),
    "jsonl": Format("jsonl", Form.TEXT, "everything, one JSON object a line"),
    "parquet": Format("parquet", Form.FILE, "everything, for R, Python and DuckDB"),
    "birds-db": Format("birds_db", Form.FILE, "SQLite with BirdNET-Pi's detections"),
    "camtrap-dp": Format("camtrap_dp", Form.FOLDER, "Camtrap DP 1.0.2 with effort and gaps"),
}


def write_results(name: str, selection: Selection, target: Path) -> None:
    """Write a format to a file or folder that does not exist yet; if it fails nothing is left.

    Raises
    ------
    EdgeProbeError
        The target exists; the archive cannot be read, or holds what the format cannot tell.
    OSError
        The disk fails.
    """
    match FORMATS[name].form:
        case Form.TEXT:
            with fresh_file(target) as part, part.open("x", encoding="utf-8", newline="") as out:
                FORMATS[name].write(selection, out)
        case Form.FILE:
            with fresh_file(target) as part:
                FORMATS[name].write(selection, part)
        case Form.FOLDER:
            with fresh_folder(target) as part:
                FORMATS[name].write(selection, part)
