"""One card brought into one folder: databases of one moment, all audio they speak of, verified.

The folder is then a state folder of its own, without ``-wal`` files, with ``collected.json`` beside
it. Bringing the same card again goes on: what is there and whole is not copied again.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import sync_folder
from edge_probe.clock import SystemClock
from edge_probe.database import is_damage
from edge_probe.deployment.effort import write_effort
from edge_probe.deployment.settings import adopted_id
from edge_probe.deployment.state import StateFolder, replace_file
from edge_probe.desk.audio import AudioBringer, closed_segments, is_there, segment_files
from edge_probe.desk.copies import copy_as_it_lies, is_written, merge_log
from edge_probe.desk.databases import (
    AS_FOUND,
    CAPTURE,
    DETECTIONS,
    Brought,
    Kind,
    bring,
    has_tables,
    put_aside,
)
from edge_probe.desk.files import WriteError, copy_file, read_file, sha256_of
from edge_probe.desk.identity import Identity, identify
from edge_probe.desk.join import join_detections, join_ledgers
from edge_probe.desk.progress import Progress
from edge_probe.desk.record import NAME, UNFINISHED, Bad, Collection, FileNote, Record
from edge_probe.errors import DeploymentError, EdgeProbeError, StateError
from edge_probe.lock import LOCK, hold

_SCRATCH = ".collecting"

_SPARE_BYTES = 32 << 20
"""For ``effort.csv``, ``collected.json`` and what a file system needs for itself."""

_PASSES = 5
"""While a recorder deletes or transcodes what is being copied, all is looked at again."""


def snapshot(source: Path, target: Path, progress: Progress) -> Collection:
    """Bring a state folder, whoever writes there, into a folder of its own.

    Parameters
    ----------
    source : Path
        State folder; not changed.
    target : Path
        Made; or what an earlier snapshot of the same recorder made, or began to make.
    progress : Progress

    Returns
    -------
    Collection
        What was brought, and what is bad.

    Raises
    ------
    StateError
        The source is no state folder, the target is something else, or it is of another recorder.
        Or a database that the target has is damaged.
    WriteError
        The disk of the target is full, or fails.
    EdgeProbeError, OSError
        A disk fails.
    """
    check_source(source, target)
    ours = any((target / name).exists() for name in (NAME, UNFINISHED))
    if target.exists() and not (ours or _is_bare(target)):
        raise StateError(
            f"{target}: is there already, and no snapshot", hint="give the name of a new folder"
        )
    target.mkdir(parents=True, exist_ok=True)
    with hold(target):
        try:
            with _sqlite_told(source, target):
                return _Bringing(source, target, progress).run()
        except EdgeProbeError:
            if _is_bare(target):
                shutil.rmtree(target)
            raise


def _is_bare(folder: Path) -> bool:
    """Whether nothing is in it but what we need on our way: what a kill leaves at the beginning."""
    return {one.name for one in folder.iterdir()} <= {LOCK, UNFINISHED, _SCRATCH}


def check_source(source: Path, target: Path) -> None:
    """Refuse what is no state folder, and to write into one.

    Raises
    ------
    StateError
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise StateError(
            f"{target}: lies in the folder that is to be copied", hint="give one somewhere else"
        )
    if not source.is_dir():
        raise StateError(f"{source}: no such folder", hint="give a recorder's state folder")
    if not ((source / CAPTURE.name).exists() or any(segment_files(source / "audio"))):
        raise StateError(
            f"{source}: expected {CAPTURE.name} or audio, found neither",
            hint="is this a recorder's state folder?",
        )


def needed_bytes(source: Path, target: Path) -> dict[Path, int]:
    """Room that bringing a card takes, by file to be made; databases take it twice for a while."""
    record = Record(target) if target.exists() else None
    found = {
        target / "audio" / one.name: one.stat().st_size
        for one in segment_files(source / "audio")
        if record is None or not is_there(one, target, record)
    }
    for path in source.glob("*.sqlite*"):
        found[target / path.name] = 3 * path.stat().st_size
    return found


def check_room(target: Path, needed: dict[Path, int]) -> None:
    """Refuse to begin what the disk has no room for.

    Raises
    ------
    StateError
    """
    place = target
    while not place.exists():
        place = place.parent
    total, free = sum(needed.values()) + _SPARE_BYTES, shutil.disk_usage(place).free
    if total > free:
        raise StateError(
            f"{target}: expected {total / 1e9:.2f} GB of free space, found {free / 1e9:.2f} GB",
            hint="make room, or collect fewer cards at once",
        )


class _Bringing:
    """One card on its way into a folder."""

    def __init__(self, source: Path, target: Path, progress: Progress) -> None:
        self._source, self._target = StateFolder(source), StateFolder(target)
        self._scratch = target / _SCRATCH
        self._progress, self._tick = progress, progress.tick
        self._record = Record(target)
        self._told = Collection(str(source.absolute()), _now(), was_recording=is_written(source))
        self._old: dict[str, Path] = {}
        """Copies of the databases that the folder has."""

    def run(self) -> Collection:
        """Bring it, and make the folder complete."""
        told = self._told
        with _empty(self._scratch):
            self._progress.begin(f"{self._source.path}: databases")
            self._copy_old()
            if not self._old:
                self._record.begin()
            heard, captured = self._bring_databases(told)
            identity = self._identify(captured)
            self._refuse_other(identity)
            self._record.begin()
            if CAPTURE.name not in self._old:  # whose the folder is
                shutil.copy(captured.path, self._scratch / "claim")
                (self._scratch / "claim").replace(self._target.capture)
            self._progress.begin(f"{self._source.path}: audio")
            audio = AudioBringer(
                self._source.audio, self._target.path, self._record, told, self._tick
            )
            heard, captured = self._bring_audio(audio, heard, captured)
            self._keep_evidence()
            self._place(DETECTIONS, join_detections(heard, self._old.get(DETECTIONS.name)))
            old = self._old.get(CAPTURE.name)
            is_whole = captured.is_whole and not identity.is_anew
            newest = Brought(captured.path, is_whole)
            self._place(CAPTURE, join_ledgers(newest, old, self._target.audio, told))
            told.bad += audio.missing(self._target.capture)
            self._finish()
        return told

    def _copy_old(self) -> None:
        for kind in (DETECTIONS, CAPTURE):
            path, copy = self._target.path / kind.name, self._scratch / kind.name
            if path.exists():
                copy_as_it_lies(path, copy, self._tick)
                merge_log(copy)
                if not has_tables(copy):
                    raise _damaged(self._target.path, f"nothing is in {kind.name}")
                self._old[kind.name] = copy

    def _bring_databases(self, told: Collection) -> tuple[Brought | None, Brought]:
        """What was heard first: the ledger then knows the segments that it speaks of."""
        folder = Path(mkdtemp(dir=self._scratch))
        heard, captured = (
            bring(kind, self._source.path, folder, told, self._tick)
            for kind in (DETECTIONS, CAPTURE)
        )
        if captured is None:
            if told.was_recording:
                raise StateError(
                    f"{self._source.path}: the recorder has only begun, and has no ledger yet",
                    hint="try again in a minute",
                )
            why = "is not there; made anew from names and headers of the audio"
            told.bad.append(Bad(CAPTURE.name, why))
            captured = Brought(folder / CAPTURE.name, is_whole=False)
            Ledger(captured.path).close()
            merge_log(captured.path)
        return heard, captured

    def _identify(self, captured: Brought) -> Identity:
        is_anew = not captured.is_whole or bool(put_aside(CAPTURE, self._source.path))
        return identify(captured.path, is_anew=is_anew)

    def _refuse_other(self, identity: Identity) -> None:
        if CAPTURE.name not in self._old:
            return
        old = identify(self._old[CAPTURE.name])
        why = identity.differs(old)
        if old.boots and not identity.boots:
            why = "nothing is left that tells whose it is"
        if why and not (identity.is_anew and self._has_same_audio()):
            raise StateError(
                f"{self._source.path}: expected the recorder whose deployment {self._target.path}"
                f" holds, found another one: {why}",
                hint="two recorders must not have one deployment_id: copy the folder of one, change"
                " the id in the deployment.toml of the copy, and collect that",
            )

    def _has_same_audio(self) -> bool:
        """Whether the first segment that both have is the same."""
        for entry in segment_files(self._source.audio):
            target = self._target.audio / entry.name
            if target.exists():
                return sha256_of(Path(entry.path)) == sha256_of(target)
        return False

    def _bring_audio(
        self, audio: AudioBringer, heard: Brought | None, captured: Brought
    ) -> tuple[Brought | None, Brought]:
        """Audio, and the databases that speak of what was still there then."""
        closed, blanked = closed_segments(captured.path)
        if not self._told.was_recording:
            audio.bring(None, blanked)
            audio.finish_growing(captured.path)
            merge_log(captured.path)
            return heard, captured
        for _ in range(_PASSES):
            audio.bring(closed, blanked)
            if not audio.missing(captured.path):
                break
            heard, captured = self._bring_databases(
                Collection("", "", was_recording=True)
            )  # told already
            closed, blanked = closed_segments(captured.path)
        return heard, captured

    def _place(self, kind: Kind, path: Path | None) -> None:
        if path is None:
            return
        merge_log(path)
        target = self._target.path / kind.name
        path.replace(target)
        sync_folder(target.parent)
        self._note_made(target)

    def _note_made(self, path: Path) -> None:
        self._record.add(path.name, FileNote(sha256_of(path), path.stat().st_size, 0))

    def _keep_evidence(self) -> None:
        """Damaged databases, as they were found."""
        found = [one for suffix in ("", "-wal")
                 for one in self._scratch.glob(f"*/*{AS_FOUND}{suffix}")]  # fmt: skip
        for kind in (DETECTIONS, CAPTURE):
            for aside in put_aside(kind, self._source.path):
                found += [one for suffix in ("", "-wal")
                          if (one := aside.with_name(aside.name + suffix)).exists()]  # fmt: skip
        for path in found:
            target = self._target.path / path.name
            number = 1
            while target.exists() and sha256_of(target) != sha256_of(path):
                number += 1
                target = self._target.path / f"{path.name}-{number}"
            if not target.exists():
                copy_file(path, target, self._tick)
                self._note_made(target)

    def _finish(self) -> None:
        self._bring_settings()
        deployment_id = self._deployment_id()
        clock = SystemClock() if self._told.was_recording else None
        write_effort(self._target, deployment_id, clock)
        self._note_made(self._target.effort)
        self._told.ended_utc = _now()
        self._record.finish(deployment_id, self._told)

    def _deployment_id(self) -> str:
        try:
            return adopted_id(self._target)
        except DeploymentError as error:
            self._told.bad.append(Bad(self._target.deployment.name, error.message))
            return ""

    def _bring_settings(self) -> None:
        """The deployment file, unless somebody changed the copy."""
        source, target = self._source.deployment, self._target.deployment
        if not source.exists():
            return
        data = read_file(source)
        if target.exists():
            kept, note = sha256_of(target), self._record.files.get(target.name)
            if note is None or note.sha256 != kept:
                if data != target.read_bytes():
                    self._told.notes.append(f"{target}: was changed here, and stays as it is")
                return
        replace_file(target, data)
        self._note_made(target)


@contextmanager
def _sqlite_told(source: Path, target: Path) -> Iterator[None]:
    """Tell people what SQLite says: of a card it only reads what was proven to be sound."""
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise _damaged(target, str(error)) from error
        if is_written(source):
            raise StateError(
                f"{source}: its databases cannot be brought: {error}",
                hint="look at the free space of both disks, then try again",
            ) from error
        raise WriteError(
            f"{target}: databases cannot be written: {error}",
            hint="look at free space and permissions; then do it again: it goes on",
        ) from error


def _damaged(target: Path, why: str) -> StateError:
    return StateError(
        f"{target}: a database there is damaged: {why}",
        hint=f"edge-probe snapshot {target} NEW rescues what it holds; then rename the databases"
        " there and bring the card again",
    )


@contextmanager
def _empty(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
