"""The folder with the slots: what lies there, and one step at a time to change it.

Every step is one rename and a sync of the folder: after a power cut it was made, or it was not.
"""

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from edge_probe.bundle.files import MANIFEST, MAX_MANIFEST_BYTES
from edge_probe.bundle.publish import hidden_name, publish, publish_file, sync
from edge_probe.errors import StateError
from edge_probe.lock import hold
from firmware_tools.slots.record import SLOTS, Record, parse

_log = logging.getLogger(__name__)

CURRENT, RECORD, INCOMING = "current", "slots.json", ".incoming"
TRIAL_LOCK = "trial.lock"

MAX_RECORD_BYTES = 2**18

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_UMASK = 0o022
"""All may read what root keeps here: the classifier has a user of its own."""


class SlotFolder:
    """The folder, which nobody but this user may write to.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.incoming = path / INCOMING

    def prepare(self) -> None:
        """Make it if it is not there.

        Raises
        ------
        StateError
            It is not ours alone. The folder around it may be writable by the user that records:
            what that user put there is not believed.
        """
        with _for_all_to_read():
            try:
                self.path.mkdir()
            except FileExistsError:
                pass
            except FileNotFoundError as error:
                raise StateError(
                    f"{self.path.parent}: no such folder",
                    hint="is this a device? see edge-firmware stage",
                ) from error
            else:
                sync(self.path.parent)
        self.check()

    def check(self) -> None:
        """Refuse a folder that is not ours alone, or that others may move away.

        Raises
        ------
        StateError
        """
        found, around, me = self.path.lstat(), self.path.parent.stat(), os.geteuid()
        faults = [
            (not stat.S_ISDIR(found.st_mode), "no folder, or a link"),
            (found.st_uid != me, f"one of user {found.st_uid}"),
            (bool(found.st_mode & _OTHERS_WRITE), "one that others may write to"),
            (around.st_uid not in (0, me), f"it in a folder of user {around.st_uid}"),
            (
                bool(around.st_mode & _OTHERS_WRITE) and not around.st_mode & stat.S_ISVTX,
                "it in a folder where others may move it: no sticky bit",
            ),
        ]
        for is_so, what in faults:
            if is_so:
                raise StateError(
                    f"{self.path}: expected a folder of user {me} alone, found {what}",
                    hint="find out who made it; the folder around it is to be root's, mode 1775",
                )

    @contextmanager
    def change(self, patience_s: float = 0.0) -> Iterator[None]:
        """Be the only one that changes it.

        Parameters
        ----------
        patience_s : float
            For somebody who is at it; a second is always waited.

        Raises
        ------
        StateError
            Somebody still is, or it is not ours alone.
        OSError
            It is not there, or the disk fails.
        """
        deadline = monotonic() + patience_s
        with ExitStack() as stack:
            stack.enter_context(_for_all_to_read())
            while True:
                self.check()
                try:
                    stack.enter_context(hold(self.path))
                    break
                except StateError as error:
                    if monotonic() >= deadline:
                        raise StateError(error.message, hint="wait until it is done") from error
            yield

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Be the only one that looks how a trial goes; it may be changed by others meanwhile.

        Raises
        ------
        StateError
            Somebody does already.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(hold(self.path, TRIAL_LOCK))
            except StateError as error:
                raise StateError(
                    f"{error.message}: the trial goes on already",
                    hint="edge-firmware slots shows how it goes",
                ) from error
            yield

    def read(self) -> Record | None:
        """The record; None: there is none, or it is damaged.

        Raises
        ------
        OSError
            The disk fails.
        """
        path = self.path / RECORD
        try:
            with path.open("rb") as file:
                data = file.read(MAX_RECORD_BYTES)
        except FileNotFoundError:
            return None
        record = parse(data)
        if record is None:
            _log.error("%s: damaged, or of another version: looking at the slots instead", path)
        return record

    def write(self, record: Record) -> None:
        """Replace the record."""
        publish_file(self.path / RECORD, record.to_bytes())

    def current(self) -> str | None:
        """The slot that ``current`` leads to; None: to none."""
        try:
            target = str((self.path / CURRENT).readlink())
        except FileNotFoundError:
            return None
        except OSError as error:  # EINVAL: no link
            raise StateError(
                f"{self.path / CURRENT}: expected a link to a slot, found something else",
                hint="move it away",
            ) from error
        return target if target in SLOTS else None

    def point(self, slot: str | None) -> None:
        """Let ``current`` lead to another slot, or to none."""
        link = self.path / CURRENT
        if slot is None:
            link.unlink(missing_ok=True)
        else:
            part = hidden_name(link, "new")
            try:
                part.symlink_to(slot)
                part.rename(link)
            finally:
                part.unlink(missing_ok=True)
        sync(self.path)

    def fill(self, slot: str) -> None:
        """Move what came in into a slot, in place of what lies there."""
        publish(self.incoming, self.path / slot)

    def sha256(self, slot: str) -> str | None:
        """Of the manifest in a slot; None: there is none that can be read."""
        try:
            with (self.path / slot / MANIFEST).open("rb") as file:
                return hashlib.sha256(file.read(MAX_MANIFEST_BYTES + 1)).hexdigest()
        except OSError:
            return None

    def sweep(self, record: Record) -> None:
        """Remove what an unfinished step left, and bundles that the record does not name."""
        needed = {one.slot for one in record.kept}
        for path in sorted(self.path.iterdir()):
            if path.name.startswith(".") or path.name in set(SLOTS) - needed:
                _log.info("%s: removed, nothing needs it", path)
                _remove(path)


@contextmanager
def _for_all_to_read() -> Iterator[None]:
    before = os.umask(_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def _remove(path: Path) -> None:
    """What cannot be removed is only in the way."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        _log.warning("%s: cannot be removed: %s", path, error)
