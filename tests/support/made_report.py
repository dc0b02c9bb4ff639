"""Archives that are worth a report: weeks, songs where detections are, health, drawn windows."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.analysis.stint import BEST
from edge_probe.capture.segment import Format, Place
from edge_probe.health.row import Row

from .made_archive import COMPLETE, T0, MadeDeployment, S

RATE = 16000
HOUR = 3600
SONG = 60
"""Seconds of each kept segment."""

HOSTILE = "</script><img src=x onerror=document.title='owned'>_<b>Evil</b> \"Tit\" & 'Co' <!--"
LABELS = {
    "Parus major_Great Tit": (4200, 6200, (4, 5, 6, 7, 8)),
    "Turdus merula_Common Blackbird": (1600, 3000, (3, 4, 5, 19, 20)),
    "Strix aluco_Tawny Owl": (500, 1000, (21, 22, 23, 0, 1)),
    "rain": (200, 7000, (11, 12)),
    HOSTILE: (3000, 3500, (9, 14)),
}
"""Band of the song in Hz, and hours at which it is sung."""

SILENT = "Botaurus stellaris_Eurasian Bittern"
"""In the bundle, and never heard."""


class Weeks:
    """One deployment of some days: an hour a segment, a minute of each fifth hour kept.

    Parameters
    ----------
    archive : Path
    id_ : str
    seed : int
    bundle : str
    """

    def __init__(self, archive: Path, id_: str, seed: int = 0, bundle: str = "birds-1") -> None:
        self.random = np.random.default_rng(seed)
        self.made = MadeDeployment(archive, id_, COMPLETE, Format(RATE, 1, 2))
        self.made.start(T0)
        self.bundle = bundle
        self.labels = [*LABELS, SILENT]
        self.made.detect("rain", 0, 0.5, bundle=bundle, logit=0.6, score=0.55)
        self.number = self.made.bundles.index(bundle) + 1
        for index, label in enumerate(self.labels):
            row = (self.number, index, label, 0.5, 0.2)
            self.made.db.execute("INSERT INTO label VALUES (?, ?, ?, ?, ?)", row)
        self.songs: list[tuple[float, float, str]] = []
        """Begin and end in seconds of the stream, and label."""

    def days(self, n: int, *, per_hour: int = 4) -> None:
        """Record so many days; a power cut of three hours on each fifth."""
        for hour in range(24 * n):
            if hour % 120 == 60:
                self.made.lose(3 * HOUR, "power")
                continue
            if hour % 120 in (61, 62):
                continue
            if hour % 17 == 0:
                self.made.lose(0.75, "overflow")
            if hour % 5 == 0:
                self._sing(hour % 24)
            else:
                self.hour()
            self._hear(hour % 24, per_hour)
        self._health(24 * n)

    def close(self) -> Path:
        """As collect leaves it."""
        self.made.close()
        return self.made.folder

    def hour(self) -> None:
        """A segment that is gone."""
        self._segment(HOUR * RATE)

    def _segment(self, n_frames: int) -> Path:
        made = self.made
        place = Place(made.boot, made.stream, made.frame)
        path = made.folder / "audio" / place.file_name("unset")
        made.ledger.begin_segment(place, made.frame * S // RATE, path.name)
        made.ledger.close_segment(place, n_frames)
        self._chunk(made.frame, n_frames)
        made.frame += n_frames
        return path

    def _chunk(self, first: int, n_frames: int) -> None:
        row = (self.number, self.made.stream, 0, first // RATE, 0, first, n_frames, "done", 1, None)
        self.made.db.execute(f"INSERT INTO chunk VALUES ({', '.join('?' * 10)})", row)

    def _sing(self, hour: int) -> None:
        """A kept minute with some songs, then the rest of the hour."""
        made, begin = self.made, self.made.frame
        sound = self.random.normal(0, 90, SONG * RATE)
        singers = [one for one, (_, _, hours) in LABELS.items() if hour in hours] or ["rain"]
        for at in range(5, SONG - 5, 9):
            label = singers[int(self.random.integers(len(singers)))]
            length = float(self.random.uniform(0.4, 1.6))
            low, high, _ = LABELS[label]
            first = round(at * RATE)
            sound[first : first + round(length * RATE)] += _song(label, length, self.random)
            start = begin / RATE + at
            self.songs.append((start, start + length, label))
            logit = float(self.random.normal(3, 1))
            self._detect(label, start, start + length, max(0.5, logit), (low, high))
        data = np.clip(sound, -32768, 32767).astype(np.int16)[:, None]
        made.record(data=data)
        self._chunk(begin, len(data))
        self._scores(begin)
        self._segment((HOUR - SONG) * RATE)

    def _detect(
        self, label: str, start: float, end: float, logit: float, band: tuple[float, float]
    ) -> None:
        """Its best window begins with the second that it begins in."""
        self.made.detect(
            label, start, end, logit=logit, score=1 / (1 + np.exp(-logit)), band=band,
            bundle=self.bundle, calibrated=label != "rain",
        )  # fmt: skip
        window = int(start) * RATE
        self.made.db.execute(
            "UPDATE detection SET window_frame = ? WHERE detection = last_insert_rowid()",
            (window,),
        )

    def _hear(self, hour: int, n: int) -> None:
        """Detections whose audio is gone."""
        end = self.made.frame / RATE
        for label, (low, high, hours) in LABELS.items():
            if hour in hours:
                for _ in range(int(self.random.poisson(n))):
                    start = end - float(self.random.uniform(10, 3000))
                    logit = max(0.5, float(self.random.normal(2, 1)))
                    self._detect(label, start, start + 1.2, logit, (low, high))

    def _scores(self, begin: int) -> None:
        """Of the windows of a kept minute: three chunks of a second, one after the other."""
        first = begin // RATE
        for n in range(first, first + SONG - 2):
            within = {label for a, b, label in self.songs if a < n + 3 and b > n}
            best = np.zeros(len(self.labels), BEST)
            best["class_index"] = np.arange(len(self.labels))
            best["logit"] = [3.0 if label in within else -4.0 for label in self.labels]
            best = best[np.argsort(-best["logit"], kind="stable")]
            row = (
                self.number, self.made.stream, 0, n, 0, n * RATE, 3 * RATE, 0.9 if within else 0.02,
                best.tobytes(),
            )  # fmt: skip
            self.made.db.execute(f"INSERT INTO score_cache VALUES ({', '.join('?' * 9)})", row)
        rows: list[tuple[object, ...]] = [
            (self.made.stream, (first + at) * RATE, "random", 10 * RATE, None, 0.01)
            for at in (10, 40)
        ]
        rows += [
            (self.made.stream, (first + at) * RATE, "stratified", 3 * RATE, 0.5, 0.1)
            for at in (4, 13, 30)
        ]
        with self.made.ledger.transaction():
            self.made.ledger.connection.executemany(
                "INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?)", rows
            )

    def _health(self, n_hours: int) -> None:
        floors = {125: -52, 500: -61, 2000: -68, 4000: -74}
        rows = []
        for at in range(0, n_hours * 60, 20):
            now, wave = at * 60 * S, 4 * np.sin(2 * np.pi * at / 1440)
            for hz, level in floors.items():
                noise = float(self.random.normal(0, 0.5))
                rows.append(Row(now, f"floor_{hz}_hz.0", level + wave + noise, "dBFS"))
            rows += [
                Row(now, "rms.0", -48 + wave, "dBFS"), Row(now, "peak.0", -12 + 2 * wave, "dBFS"),
                Row(now, "dc.0", 0.0004 + 0.0001 * float(self.random.normal()), "FS"),
                Row(now, "clipped.0", 0.0002 if at % 1440 == 720 else 0.0, "ratio"),
            ]  # fmt: skip
            if at % 1440 == 720:
                text = "0.02 % of samples are clipped <b>: lower the gain"
                rows.append(Row(now, "alarm.clipping.0", 1.0, "1", text))
        with self.made.ledger.transaction():
            self.made.ledger.add_health(self.made.boot, rows)


def _song(label: str, length: float, random: np.random.Generator) -> NDArray[np.float64]:
    """What a class sounds like."""
    low, high, _ = LABELS[label]
    n = round(length * RATE)
    if label == "rain":
        return random.normal(0, 1500, n)
    time_s = np.arange(n) / RATE
    middle, half = (low + high) / 2, (high - low) / 2
    pitch = middle + half * 0.8 * np.sin(2 * np.pi * 3 / length * time_s)
    fade = np.sin(np.pi * np.arange(n) / n) ** 0.5
    song: NDArray[np.float64] = 5000 * fade * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    return song


def week(archive: Path) -> Path:
    """A deployment of a week, one of three days, and one in which nothing was heard."""
    for n, (id_, days) in enumerate((("alder-carr", 7), ("beech-ridge", 3))):
        weeks = Weeks(archive, id_, n)
        weeks.days(days)
        weeks.close()
    quiet = MadeDeployment(archive, "quarry")
    quiet.start(T0)
    quiet.record(2)
    quiet.close()
    return archive


def many(archive: Path, n: int) -> Path:
    """A deployment of eleven weeks with so many detections, a week of them with sound."""
    weeks = Weeks(archive, "alder-carr")
    weeks.days(7)
    db, random = weeks.made.db, np.random.default_rng(7)
    (known,) = db.execute("SELECT count(*) FROM detection").fetchone()
    n_hours = 24 * 70
    first = weeks.made.frame
    for _ in range(n_hours):
        weeks.hour()
    (row,) = db.execute("SELECT * FROM detection LIMIT 1").fetchall()
    starts = first + np.sort(random.integers(0, n_hours * HOUR * RATE, n - known))
    labels = random.choice(list(LABELS), n - known)
    logits = np.maximum(0.5, random.normal(2, 1, n - known))
    names = [one[1] for one in db.execute("PRAGMA table_info(detection)")]
    rows = []
    for start, label, logit in zip(starts.tolist(), labels.tolist(), logits.tolist(), strict=True):
        changed = dict(zip(names, row, strict=True)) | {
            "detection": None, "label": label, "first_frame": start, "n_frames": RATE,
            "logit": logit, "score": 1 / (1 + np.exp(-logit)), "window_frame": start,
            "span_frame": start, "span_n_frames": 3 * RATE,
        }  # fmt: skip
        rows.append(tuple(changed.values()))
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO detection VALUES ({', '.join('?' * len(names))})", rows)
    db.execute("COMMIT")
    weeks.close()
    return archive
