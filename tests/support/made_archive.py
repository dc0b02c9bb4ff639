"""Archives of deployments that were never recorded: the real tables, and what a test puts in."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.analysis.tables import TABLES, VERSION
from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format, Place
from edge_probe.source.flac import encode
from edge_probe.source.wav import pcm_header

S = 10**9
T0 = 1_777_593_600 * S
"""2026-05-01T00:00:00Z"""

RATE = 8000
MONO = Format(RATE, 1, 2)
COMPLETE = """
latitude = 47.5
longitude = 8.25
coordinate_uncertainty_m = 12.5
utc_offset = "+01:00"
recorder_serial = "00000000abcdef"
microphone = "1234:5678:serial|1"
capture_gain_db = 12.5
height_m = 1.5
habitat = "alder carr, wet"
setup_by = "Ada Löv"
[project]
title = "Waldvögel, 2026"
sampling_design = "simpleRandom"
"""
"""All that any format asks for."""


@dataclass
class MadeDeployment:
    """One folder of an archive: one boot after the other, segments and gaps in their order."""

    archive: Path
    id: str
    settings: str = COMPLETE
    format: Format = MONO
    ledger: Ledger = field(init=False)
    db: sqlite3.Connection = field(init=False)
    boot: int = 0
    stream: int = 0
    frame: int = 0
    bundles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "audio").mkdir(parents=True)
        (self.folder / "deployment.toml").write_text(
            f'deployment_id = "{self.id}"\n{self.settings}', encoding="utf-8"
        )
        self.ledger = Ledger(self.folder / "capture.sqlite")
        self.ledger.connection.execute("PRAGMA synchronous = OFF")  # nobody cuts the power here
        self.db = sqlite3.connect(self.folder / "detections.sqlite", isolation_level=None)
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.executescript(f"{TABLES} PRAGMA user_version = {VERSION};")

    @property
    def folder(self) -> Path:
        return self.archive / self.id

    def start(self, utc_ns: int = T0, trust: str = "ntp", format_: Format | None = None) -> None:
        """Boot, and open the microphone at that moment."""
        self.format = format_ or self.format
        self.boot = self.ledger.boot(f"{self.id} {self.boot}")
        self.ledger.add_anchor(self.boot, 0, utc_ns, trust)
        self.stream = self.ledger.add_stream(self.boot, "made", self.format, 0)
        self.frame = 0

    def record(
        self, seconds: float = 1.0, *, data: NDArray[np.int16] | None = None, kept: bool = True,
        flac: bool = False,
    ) -> Path:  # fmt: skip
        """A closed segment of the stream, of noise where it is given no data (n, channels)."""
        n_frames = round(seconds * self.format.rate_hz)
        if data is None:
            generator = np.random.default_rng(self.frame)
            data = generator.integers(-99, 99, (n_frames, self.format.n_channels), dtype=np.int16)
        place = Place(self.boot, self.stream, self.frame)
        path = self.folder / "audio" / place.file_name("unset")
        began_ns = self.frame * S // self.format.rate_hz
        self.ledger.begin_segment(place, began_ns, path.name)
        self.ledger.close_segment(place, len(data))
        self.frame += len(data)
        if kept:
            pcm = data.astype("<i2").tobytes()
            path.write_bytes(
                pcm_header(self.format.rate_hz, self.format.n_channels, 2, len(pcm)) + pcm
            )
        if flac:
            self.ledger.adopt_flac(place, encode(path, path.with_suffix(".flac")))
            path.unlink()
            return path.with_suffix(".flac")
        return path

    def lose(self, seconds: float | None, cause: str = "overflow") -> None:
        n_frames = None if seconds is None else round(seconds * self.format.rate_hz)
        self.ledger.put_gap(self.stream, self.frame, n_frames, cause)
        self.frame += n_frames or 0

    def detect(
        self, label: str, start: float, end: float, *, logit: float = 2.0, score: float = 0.9,
        calibrated: bool = True, band: Sequence[float | None] = (1000.0, 3000.0), channel: int = 0,
        suppressed: bool = False, private: bool = False, bundle: str = "birds-1",
        stream: int | None = None,
    ) -> None:  # fmt: skip
        """Seconds from the beginning of the stream."""
        if bundle not in self.bundles:
            self.bundles.append(bundle)
            sha256 = f"{sum(map(ord, bundle)):064x}"[::-1]
            row = (len(self.bundles), sha256, bundle, 1.0, 3, 1)
            self.db.execute("INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?)", row)
        first, last = (round(at * self.format.rate_hz) for at in (start, end))
        self.db.execute(
            f"INSERT INTO detection VALUES (NULL{', ?' * 19})",
            (
                self.bundles.index(bundle) + 1, self.stream if stream is None else stream, 0, 0,
                channel, label, first, last - first, *band, score, calibrated, logit, 0.5, first,
                first, last - first, suppressed, private,
            ),
        )  # fmt: skip

    def close(self) -> None:
        """As `collect` leaves it: no ``-wal``."""
        self.ledger.connection.execute("PRAGMA journal_mode = DELETE")
        self.ledger.close()
        self.db.close()


def usual(archive: Path, id_: str = "wood-1") -> MadeDeployment:
    """Two boots; detections over a border, in a deleted file, of odd names; gaps and FLAC."""
    made = MadeDeployment(archive, id_)
    made.start()
    made.record(2)
    made.detect("Parus major_Great Tit", 0.25, 1.125, logit=3.0, score=0.95)
    made.record(2, flac=True)
    made.detect("Parus major_Great Tit", 1.5, 2.25)  # over the border
    made.detect('Turdus "x", y_Ørret, åé', 3.0, 3.5, band=(None, None))
    made.record(2)  # nothing heard
    made.lose(1.5)
    made.record(2, kept=False)
    made.detect("Strix aluco_Tawny Owl", 7.75, 8.5)
    made.record(2)
    made.detect("rain", 9.6, 10.2, calibrated=False, score=0.7)
    made.detect("Parus major_Great Tit", 9.7, 10.3, suppressed=True)
    made.detect("Homo sapiens_Human", 10.0, 10.5, private=True)
    made.lose(None, "power")
    made.start(T0 + 86_400 * S + S // 2)
    made.record(2)
    made.detect("Parus major_Great Tit", 0.125, 0.5, logit=1.0)
    return made
