"""What the desk's tools read: an archive of deployments, or the folder of one recorder.

An archive holds a folder for each deployment, with what the recorder's state folder held
(`SCHEMA.md`): `collect` made it. A state folder is read too, and never changed.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from edge_probe.analysis.tables import VERSION as DETECTIONS_VERSION
from edge_probe.bundle.labels import Label
from edge_probe.capture.tables import VERSION as CAPTURE_VERSION
from edge_probe.deployment import effort
from edge_probe.deployment.settings import Settings, parse_settings
from edge_probe.deployment.state import StateFolder
from edge_probe.deployment.wall import Moment, Wall, WallTime
from edge_probe.desk.copies import copy_database, is_written, open_copy
from edge_probe.desk.files import read_file
from edge_probe.desk.record import NAME, UNFINISHED, Record
from edge_probe.desk.rows import BundleRow, DetectionRow, EffortRow, GapRow, LabelRow, Segment
from edge_probe.errors import StateError

__all__ = [
    "Archive", "BundleRow", "Deployment", "DetectionRow", "EffortRow", "GapRow", "LabelRow",
    "Segment", "open_archive",
]  # fmt: skip

_log = logging.getLogger(__name__)

_DETECTIONS = (
    "SELECT detection, bundle.id, bundle.sha256, stream, channel, first_frame, n_frames, label,"
    " logit, score, calibrated, threshold, low_hz, high_hz, window_frame, suppressed, private"
    " FROM detection JOIN bundle USING (bundle)"
    " ORDER BY stream, first_frame, channel, label, detection"
)
_SEGMENTS = (
    "SELECT stream, segment.first_frame, n_frames, name, n_bytes IS NOT NULL FROM segment"
    " LEFT JOIN transcode USING (stream, first_frame) WHERE n_frames IS NOT NULL"
)
_GAPS = "SELECT stream, first_frame, n_frames, cause FROM gap"
_WITHIN = (
    "{0}.stream = ?1 AND {0}.first_frame < ?2 AND {0}.first_frame >= coalesce("
    "(SELECT max(first_frame) FROM {0} WHERE stream = ?1 AND first_frame <= ?3), 0)"
    " ORDER BY {0}.first_frame"
)
"""Rows of a table from the last one that begins before ?3, or there, up to ?2."""
_PRIVATE = (
    "SELECT span_frame, span_frame + span_n_frames FROM detection WHERE private AND stream = ?1"
    " AND span_frame < ?2 AND span_frame + span_n_frames > ?3 ORDER BY span_frame"
)


class _Stream(NamedTuple):
    boot: int
    rate_hz: int
    channels: int
    until: Moment | None
    """When the next stream was opened."""


class Deployment:
    """One deployment of an archive, or a state folder, as it was when it was opened.

    Rows come in the order of time: streams in the order of their opening, samples ascending. None
    of the iterators holds more than a few rows in memory, `effort` excepted. To be closed.

    Parameters
    ----------
    folder : Path
        Databases in which somebody writes, or that have a ``-wal`` file, are copied to a temporary
        folder and read there.

    Raises
    ------
    StateError
        There is no ledger, it is damaged or of a newer version, or collecting was not finished.
        From iterators, too: a database is damaged.
    DeploymentError
        The deployment file is not valid.
    OSError
        The disk fails.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / UNFINISHED).exists():
            raise StateError(
                f"{folder}: collecting was not finished",
                hint="run edge-probe collect again with the same card and archive: it goes on",
            )
        self.state = StateFolder(folder)
        if not self.state.capture.exists():
            raise _missing(self.state.capture)
        self.settings = _settings(self.state)
        """Of the deployment file; with an empty id where there is none."""
        self._copies = TemporaryDirectory(prefix="edge-probe-", ignore_cleanup_errors=True)
        self._open: list[sqlite3.Connection] = []
        try:
            heard = self.state.detections
            self.detections_db = (
                self._connect(heard, DETECTIONS_VERSION) if heard.exists() else None
            )
            if self.detections_db and not _has_tables(self.detections_db):
                self.detections_db = None  # a classifier is about to make them
            if self.detections_db is None and _was_collected(heard):
                raise _missing(heard)
            """Open ``detections.sqlite``, read-only; None: no classifier ever listened."""
            self.capture_db = self._connect(self.state.capture, CAPTURE_VERSION)
            """Open ``capture.sqlite``, read-only."""
            self._streams = dict(self._read_streams())
            self._wall = Wall.read(self.capture_db)
        except sqlite3.Error as error:
            self.close()
            raise _unreadable(folder, error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; iterators end."""
        while self._open:
            self._open.pop().close()
        self._copies.cleanup()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.state.path

    @property
    def audio(self) -> Path:
        """Where the files of segments lie, or lay."""
        return self.state.audio

    @property
    def audio_name(self) -> str:
        """The same, seen from the archive."""
        return f"{self.folder.name}/{self.audio.name}"

    @property
    def id(self) -> str:
        """Of the deployment file; empty where there is none."""
        return self.settings.deployment_id

    def bundles(self) -> list[BundleRow]:
        """Bundles that listened, in the order in which they came."""
        found = []
        for number, sha256, name, chunk_s, window, hop in self._heard(
            "SELECT bundle, sha256, id, chunk_s, window_chunks, hop_chunks FROM bundle"
            " ORDER BY bundle"
        ):
            labels = self._heard(
                "SELECT label, threshold_on, threshold_off FROM label WHERE bundle = ?"
                " ORDER BY class_index",
                number,
            )
            classes = tuple(LabelRow(*one) for one in labels)
            found.append(BundleRow(sha256, name, chunk_s, window, hop, classes))
        return found

    def detections(self) -> Iterator[DetectionRow]:
        """Detections of all bundles, suppressed and private ones included."""
        n_lost, n_damaged, segment = 0, 0, None
        for row in self._heard(_DETECTIONS):
            stream, start = row[3], row[5]
            if stream not in self._streams:
                n_lost += 1
                continue
            if not _is_sound(row, self._streams[stream].channels):
                n_damaged += 1
                continue
            if segment is None or not (
                segment.stream == stream and segment.start_sample <= start < segment.end_sample
            ):
                segment = self._segment_at(stream, start)
            yield self._detection(row, segment)
        if n_lost:
            _log.warning(
                "%s: %d detections are of streams that capture.sqlite does not know any more:"
                " left out", self.folder, n_lost,
            )  # fmt: skip
        if n_damaged:
            _log.warning(
                "%s: %d detections have values that cannot be (a damaged database): left out",
                self.folder, n_damaged,
            )  # fmt: skip

    def segments(self) -> Iterator[Segment]:
        """Closed segments, those without a file included."""
        for row in self._captured(f"{_SEGMENTS} ORDER BY stream, first_frame"):
            yield self._segment(row)

    def segments_of(self, stream: int, begin: int, end: int) -> list[Segment]:
        """Closed segments that hold something of the samples [begin, end) of a stream."""
        rows = self._captured(f"{_SEGMENTS} AND {_WITHIN.format('segment')}", stream, end, begin)
        return [one for one in map(self._segment, rows) if one.end_sample > begin]

    def gaps(self) -> Iterator[GapRow]:
        """What is missing, ``schedule`` included."""
        for row in self._captured(f"{_GAPS} ORDER BY stream, first_frame"):
            yield self._gap(row)

    def gaps_of(self, stream: int, begin: int, end: int) -> list[GapRow]:
        """Gaps with something of the samples [begin, end) of a stream."""
        rows = self._captured(f"{_GAPS} WHERE {_WITHIN.format('gap')}", stream, end, begin)
        return [
            one
            for one in map(self._gap, rows)
            if one.n_samples is None or one.start_sample + one.n_samples > begin
        ]

    def private_spans(self, stream: int, begin: int, end: int) -> list[tuple[int, int]]:
        """Samples [first, last) of private detections that lie in [begin, end), all channels."""
        return list(self._heard(_PRIVATE, stream, end, begin))

    def effort(self) -> Iterator[EffortRow]:
        """Listening effort, as in ``effort.csv`` but made now."""

        def rows() -> Iterator[EffortRow]:
            for row in effort.rows(self.capture_db, self.detections_db, None):
                start = WallTime(row.start_utc_ns, row.clock_trust)
                end = None if row.end_utc_ns is None else WallTime(row.end_utc_ns, row.clock_trust)
                seconds = (None if n is None else n * row.frame_s for n in astuple(row.frames))
                yield EffortRow(
                    self.id, row.stream, row.channel, row.bundle_sha256, _moment(start),
                    end and _moment(end), row.clock_trust, *seconds,  # type: ignore[arg-type]
                )  # fmt: skip

        return self._told(rows)

    def at(self, stream: int, sample: int) -> datetime | None:
        """UTC of a sample; None where the clock was never set."""
        return _moment(self._at(stream, sample))

    def stream(self, stream: int) -> tuple[int, int]:
        """Boot and sample rate in Hz of a stream."""
        return self._streams[stream][:2]

    def utc(self, boot: int, monotonic_ns: int) -> datetime | None:
        """UTC of a moment of a boot; None where its clock was never set."""
        return _moment(self._wall.boots[boot].at(monotonic_ns))

    def rows(
        self, db: sqlite3.Connection | None, table: str, query: str, *values: object
    ) -> Iterator[Any]:
        """Rows of a table of one of the databases; none where nobody has made it yet."""

        def found() -> Iterator[Any]:
            has = "SELECT 1 FROM sqlite_schema WHERE name = ?"
            if db is not None and db.execute(has, (table,)).fetchone():
                yield from _rows(db, query, values)

        return self._told(found)

    def _connect(self, path: Path, version: int) -> sqlite3.Connection:
        if is_written(self.folder) or path.with_name(path.name + "-wal").exists():
            copy = Path(self._copies.name) / path.name
            copy_database(path, copy)
            path = copy
        db = open_copy(path)
        self._open.append(db)
        (found,) = db.execute("PRAGMA user_version").fetchone()
        if found > version:
            raise StateError(
                f"{path}: expected version {version} or older, found {found}",
                hint="it was made by a newer edge-probe: install that one",
            )
        return db

    def _read_streams(self) -> Iterator[tuple[int, _Stream]]:
        for stream, boot, rate_hz, channels, next_boot, next_ns in self.capture_db.execute(
            "SELECT stream, boot, rate_hz, n_channels, lead(boot) OVER (ORDER BY stream),"
            " lead(opened_ns) OVER (ORDER BY stream) FROM stream"
        ):
            until = None if next_boot is None else Moment(next_boot, next_ns)
            yield stream, _Stream(boot, rate_hz, channels, until)

    def _detection(self, row: tuple[Any, ...], segment: Segment | None) -> DetectionRow:
        (detection, bundle, sha256, stream, channel, first_frame, n_frames, text, logit, score,
         calibrated, threshold, low_hz, high_hz, window_frame, suppressed, private,
        ) = row  # fmt: skip
        of, label = self._streams[stream], Label.parse(text)
        begin, end = self._at(stream, first_frame), self._at(stream, first_frame + n_frames)
        return DetectionRow(
            self.id, detection, bundle, sha256, of.boot, stream, channel, first_frame,
            first_frame + n_frames, of.rate_hz, _moment(begin), _moment(end), begin.trust, text,
            label.scientific_name, label.common_name, logit, score, bool(calibrated), threshold,
            low_hz, high_hz, window_frame, bool(suppressed), bool(private), segment,
        )  # fmt: skip

    def _gap(self, row: tuple[Any, ...]) -> GapRow:
        stream, first_frame, n_frames, cause = row
        of = self._streams[stream]
        if n_frames is None and of.until:
            n_frames = self._wall.open_gap(stream, first_frame, of.until)
        begin, end = self._at(stream, first_frame), None
        if n_frames is not None:
            end = _moment(self._at(stream, first_frame + n_frames))
        return GapRow(
            self.id, of.boot, stream, first_frame, n_frames, of.rate_hz, cause,
            _moment(begin), end, begin.trust,
        )  # fmt: skip

    def _segment_at(self, stream: int, sample: int) -> Segment | None:
        for row in self._captured(
            f"{_SEGMENTS} AND stream = ? AND segment.first_frame <= ?"
            " ORDER BY segment.first_frame DESC LIMIT 1",
            stream, sample,
        ):  # fmt: skip
            segment = self._segment(row)
            return segment if sample < segment.end_sample else None
        return None

    def _segment(self, row: tuple[Any, ...]) -> Segment:
        stream, first_frame, n_frames, name, is_flac = row
        of, begin = self._streams[stream], self._at(stream, first_frame)
        end = self._at(stream, first_frame + n_frames)
        wav = self.audio / name
        paths = (wav, wav.with_suffix(".flac"))
        path = next((one for one in (paths[::-1] if is_flac else paths) if one.exists()), None)
        return Segment(
            self.id, of.boot, stream, name, path, first_frame, n_frames, of.rate_hz, of.channels,
            _moment(begin), _moment(end), begin.trust,
        )  # fmt: skip

    def _at(self, stream: int, sample: int) -> WallTime:
        return self._wall.streams[stream].at(sample)

    def _heard(self, query: str, *values: object) -> Iterator[Any]:
        db = self.detections_db
        return self._told(lambda: _rows(db, query, values) if db else iter(()))

    def _captured(self, query: str, *values: object) -> Iterator[Any]:
        return self._told(lambda: _rows(self.capture_db, query, values))

    def _told(self, rows: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        try:
            yield from rows()
        except sqlite3.Error as error:
            raise _unreadable(self.folder, error) from error


@dataclass(frozen=True, slots=True)
class Archive:
    """Deployments, in the order of their ids."""

    folders: tuple[Path, ...]

    def deployments(self) -> Iterator[Deployment]:
        """Each, open until the next one is asked for."""
        for folder in self.folders:
            with Deployment(folder) as deployment:
                yield deployment

    def detections(self) -> Iterator[DetectionRow]:
        """As of `Deployment`, one deployment after the other."""
        for deployment in self.deployments():
            yield from deployment.detections()

    def segments(self) -> Iterator[Segment]:
        """As of `Deployment`, one deployment after the other."""
        for deployment in self.deployments():
            yield from deployment.segments()

    def gaps(self) -> Iterator[GapRow]:
        """As of `Deployment`, one deployment after the other."""
        for deployment in self.deployments():
            yield from deployment.gaps()

    def effort(self) -> Iterator[EffortRow]:
        """As of `Deployment`, one deployment after the other."""
        for deployment in self.deployments():
            yield from deployment.effort()


def open_archive(path: Path) -> Archive:
    """An archive, one deployment of it, or the state folder of a recorder.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StateError
        It is none of these, collecting was not finished, or two folders hold one deployment.
    DeploymentError
        A deployment file is not valid.
    """
    if not path.is_dir():
        raise StateError(f"{path}: no such folder", hint="give an archive or a state folder")
    if _is_deployment(path):
        return Archive((path,))
    found = tuple(sorted(one for one in path.iterdir() if one.is_dir() and _is_deployment(one)))
    _refuse_twins(found)
    if not found:
        raise StateError(
            f"{path}: expected an archive or a recorder's state folder, found neither",
            hint="edge-probe collect STATE -o ARCHIVE makes an archive",
        )
    return Archive(found)


def _is_deployment(path: Path) -> bool:
    return any((path / name).exists() for name in ("capture.sqlite", NAME, UNFINISHED))


def _refuse_twins(folders: Iterable[Path]) -> None:
    """A copy of a folder beside it would be counted twice."""
    known: dict[str, Path] = {}
    for folder in folders:
        name = _settings(StateFolder(folder)).deployment_id
        if name and name in known:
            raise StateError(
                f"{folder} and {known[name]}: both hold the deployment {name}",
                hint="move one of them out of the archive",
            )
        known[name] = folder


def _was_collected(path: Path) -> bool:
    """Whether a file was brought into the folder in which it should lie."""
    return (path.parent / NAME).exists() and path.name in Record(path.parent).files


def _missing(path: Path) -> StateError:
    if _was_collected(path):
        return StateError(
            f"{path}: was collected, and is gone or empty",
            hint="run edge-probe collect again with the same card and archive",
        )
    return StateError(
        f"{path}: no such file",
        hint="give an archive, one deployment of it, or a recorder's state folder",
    )


def _rows(db: sqlite3.Connection, query: str, values: Sequence[object]) -> Iterator[Any]:
    """No cursor: whoever gives up `yield from` closes it, which a closed database refuses."""
    return map(tuple, db.execute(query, values))


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None


def _is_sound(row: tuple[Any, ...], n_channels: int) -> bool:
    """Whether a row of `_DETECTIONS` can be one: pages of a damaged database may hold anything."""
    _, _, _, _, channel, first_frame, n_frames, text, logit, score, _, threshold = row[:12]
    low_hz, high_hz = row[12:14]
    return (
        0 <= channel < n_channels
        and 0 <= first_frame < first_frame + n_frames
        and isfinite(logit)
        and isfinite(threshold)
        and 0 <= score <= 1
        and (low_hz is None or isfinite(low_hz))
        and (high_hz is None or isfinite(high_hz))
        and _is_label(text)
    )


@cache
def _is_label(text: str) -> bool:
    return Label.parse(text).is_clean


def _settings(state: StateFolder) -> Settings:
    path = state.deployment
    return parse_settings(read_file(path), str(path)) if path.exists() else Settings("")


def _moment(time: WallTime) -> datetime | None:
    if time.trust == "unset":
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time.utc_ns // 1000)


def _unreadable(folder: Path, error: sqlite3.Error) -> StateError:
    return StateError(
        f"{folder}: cannot be read: {error}",
        hint=f"edge-probe snapshot {folder} NEW rescues what can be read of a damaged database",
    )
