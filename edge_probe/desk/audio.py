"""Segments of a card: which lie there, which are there already, and whether they are all there."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import PART, Place, finish_part, frames_in, sync_folder
from edge_probe.desk.copies import open_copy
from edge_probe.desk.files import Tick, copy_file, sha256_of
from edge_probe.desk.record import Bad, Collection, FileNote, Record
from edge_probe.source.wav import HEADER_BYTES


def segment_files(audio: Path) -> Iterator[os.DirEntry[str]]:
    """Finished segments in a folder, in the order of their recording; none if it is not there."""
    if not audio.is_dir():
        return
    with os.scandir(audio) as found:
        entries = [one for one in found if Place.of(one.name) and not one.name.endswith(PART)]
    yield from sorted(entries, key=lambda one: one.name)


def is_there(entry: os.DirEntry[str], folder: Path, record: Record) -> bool:
    """Whether a file of a card was brought before and did not change since."""
    note, stat = record.files.get(f"audio/{entry.name}"), entry.stat()
    if note is None or (note.n_bytes, note.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
        return False
    target = folder / "audio" / entry.name
    return target.exists() and target.stat().st_size == note.n_bytes


class AudioBringer:
    """Brings segments into the folder of a deployment, each whole or not at all.

    Parameters
    ----------
    audio : Path
        Of the card.
    folder : Path
        Of the deployment.
    record : Record
        Of the folder.
    told : Collection
    tick : callable
    """

    def __init__(
        self, audio: Path, folder: Path, record: Record, told: Collection, tick: Tick
    ) -> None:
        self._source, self._folder, self._target = audio, folder, folder / "audio"
        self._record, self._told, self._tick = record, told, tick
        self._target.mkdir(exist_ok=True)

    def bring(self, known: set[str] | None, blanked: set[str]) -> None:
        """Bring what is not there yet.

        Parameters
        ----------
        known : set of str, optional
            Names of segments, without suffix, that the ledger knew when it was copied; others are
            younger, and come next time. None: all.
        blanked : set of str
            Those in which something private became zeros. No other one ever changes.

        Raises
        ------
        OSError
            The disk of the folder fails. One file of the card that fails is noted as bad.
        """
        for entry in segment_files(self._source):
            if known is not None and Path(entry.name).stem not in known:
                continue
            if not entry.is_file(follow_symlinks=False):  # a pipe would never end
                self._bad(entry.name, "is no file of its own: a link, a folder or a device")
                continue
            try:
                self._bring(entry, Path(entry.name).stem in blanked)
            except OSError as error:
                if not is_of(error, self._source):
                    raise
                if known is None or not isinstance(error, FileNotFoundError):
                    self._bad(entry.name, f"cannot be read: {error.strerror}")
        sync_folder(self._target)

    def _bring(self, entry: os.DirEntry[str], may_change: bool) -> None:
        name = f"audio/{entry.name}"
        if is_there(entry, self._folder, self._record):
            self._told.n_there += 1
            return
        source, target = Path(entry.path), self._target / entry.name
        if target.exists() and self._stays(source, target, may_change):
            return
        fresh = self._target / f"{entry.name}.new"
        sha256 = copy_file(source, fresh, self._tick)
        stat = fresh.stat()
        fresh.replace(target)
        self._record.add(name, FileNote(sha256, stat.st_size, stat.st_mtime_ns))
        self._told.n_copied += 1
        self._told.copied_bytes += stat.st_size
        if target.suffix == ".flac":  # of a segment that was brought as WAV before
            target.with_suffix(".wav").unlink(missing_ok=True)
            self._record.drop(f"audio/{target.stem}.wav")

    def _stays(self, source: Path, target: Path, may_change: bool) -> bool:
        """Whether a file that is there stays: it is the same, or the better one."""
        name, stat, size = f"audio/{target.name}", source.stat(), target.stat().st_size
        sha256 = sha256_of(source, self._tick)
        if stat.st_size == size and sha256 == sha256_of(target):
            self._record.add(name, FileNote(sha256, size, stat.st_mtime_ns))
            self._told.n_there += 1
            return True
        if stat.st_size > size or (stat.st_size == size and may_change):
            return False
        self._bad(target.name, "shorter than, or not, what was brought before, which is kept")
        return True

    def finish_growing(self, capture: Path) -> None:
        """Do what the recorder would do at its next start: keep what the last segment holds.

        Parameters
        ----------
        capture : Path
            Our own copy of the ledger of a card that nobody writes.

        Raises
        ------
        sqlite3.Error, OSError
            A disk fails.
        """
        ledger = Ledger(capture)
        try:
            for place, format_, name in ledger.growing():
                part, target = self._source / (name + PART), self._target / (name + PART)
                n_frames = 0
                if part.exists():
                    copy_file(part, target, self._tick)
                    os.truncate(target, _data_bytes(part))  # a copy has no holes
                    n_frames = finish_part(target, format_)
                elif (self._target / name).exists():
                    n_frames = frames_in(self._target / name, format_)
                with ledger.transaction():
                    if n_frames:
                        ledger.close_segment(place, n_frames)
                    else:
                        ledger.drop_segment(place)
                if part.exists() and n_frames:
                    whole = self._target / name
                    note = FileNote(sha256_of(whole), whole.stat().st_size, 0)
                    self._record.add(f"audio/{name}", note)
                    self._told.n_copied += 1
                    self._told.copied_bytes += note.n_bytes
        finally:
            ledger.close()

    def missing(self, capture: Path) -> list[Bad]:
        """Segments whose file is not there, or is not as long as the ledger says.

        Parameters
        ----------
        capture : Path
            Our own copy of the ledger, without ``-wal``.
        """
        with os.scandir(self._target) as found:
            sizes = {one.name: one.stat().st_size for one in found}
        with closing(open_copy(capture)) as db:
            return list(_missing(db, sizes))

    def _bad(self, name: str, why: str) -> None:
        self._told.bad.append(Bad(f"audio/{name}", why))


def _missing(db: sqlite3.Connection, sizes: dict[str, int]) -> Iterator[Bad]:
    for name, n_bytes, flac_bytes in db.execute(
        "SELECT name, ? + n_frames * n_channels * sample_bytes, n_bytes FROM segment"
        " JOIN stream USING (stream) LEFT JOIN transcode USING (stream, first_frame)"
        " WHERE n_frames IS NOT NULL AND NOT EXISTS (SELECT 1 FROM deletion WHERE"
        " (deletion.stream, deletion.first_frame) = (segment.stream, segment.first_frame))"
        " ORDER BY stream, segment.first_frame",
        (HEADER_BYTES,),
    ):
        flac = Path(name).with_suffix(".flac").name
        if flac_bytes is not None and flac in sizes:
            name, n_bytes = flac, flac_bytes
        elif name not in sizes:
            if flac not in sizes:
                yield Bad(f"audio/{name}", "the ledger knows it, but it is not there")
            continue
        if sizes[name] != n_bytes:
            yield Bad(f"audio/{name}", f"expected {n_bytes} bytes, found {sizes[name]}")


def closed_segments(capture: Path) -> tuple[set[str], set[str]]:
    """Names, without suffix, of the closed segments of a ledger, and of those that were blanked."""
    with closing(open_copy(capture)) as db:
        closed = db.execute("SELECT name FROM segment WHERE n_frames IS NOT NULL")
        blanked = db.execute(
            "SELECT name FROM segment JOIN privacy ON privacy.stream = segment.stream AND"
            " privacy.first_frame >= segment.first_frame AND privacy.first_frame <"
            " segment.first_frame + segment.n_frames"
        )
        return {Path(one).stem for (one,) in closed}, {Path(one).stem for (one,) in blanked}


def is_of(error: OSError, folder: Path) -> bool:
    """Whether it is the disk of this folder that fails."""
    return error.filename is not None and Path(error.filename).is_relative_to(folder)


def _data_bytes(path: Path) -> int:
    """Up to the first hole of a file: behind it nothing was written, whatever its size."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) if os.fstat(fd).st_size else 0
    finally:
        os.close(fd)
