"""A folder of recordings in, a folder of results out; a survey that was interrupted goes on."""

import csv
import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TextIO

from edge_probe.bundle import Bundle
from edge_probe.bundle.publish import hidden_name, sync
from edge_probe.desk.names import UnknownOffsetError, told_start
from edge_probe.desk.survey.listing import BATCH_BYTES, Batch, Listing, make_list
from edge_probe.desk.survey.pace import Pace
from edge_probe.desk.survey.parts import DETECTIONS, FILES, Parts
from edge_probe.desk.survey.plan import NAME, Plan, is_survey
from edge_probe.desk.survey.work import BatchResult, Work
from edge_probe.encoder import Profile
from edge_probe.errors import EdgeProbeError, StateError
from edge_probe.lock import hold

LIST, BAD = "list.sqlite", "bad.csv"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

_log = logging.getLogger(__name__)


class Workers(Protocol):
    """Whoever works on batches: processes of this machine, or a cluster."""

    def results(
        self, batches: Iterable[Batch], stopped: Callable[[], bool]
    ) -> Iterator[BatchResult]:
        """Results as they come, until all are there or somebody says stop."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of whom."""

    folder: Path
    """Of the recordings."""
    out: Path
    """Of the results; made if it is not there."""
    bundle: Bundle
    profile: Profile = "low-memory"
    channel: int | None = None
    utc_offset: timedelta | None = None
    shard: int = 1
    """Counted from 1."""
    n_shards: int = 1
    batch_bytes: int = BATCH_BYTES
    """Of the smallest batch."""

    @property
    def work(self) -> Work:
        """What a worker must know of it."""
        return Work(
            str(self.folder.absolute()), str(self.bundle.path.absolute()), self.bundle.sha256,
            self.profile, self.channel, self.utc_offset,
        )  # fmt: skip

    def plan(self, listing: Listing) -> Plan:
        """What the results are about."""
        offset = self.utc_offset
        return Plan(
            str(self.folder.absolute()), self.bundle.id, self.bundle.sha256, self.profile,
            self.channel, None if offset is None else round(offset.total_seconds()),
            **asdict(listing.extent()), shard=self.shard, n_shards=self.n_shards,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is in the end."""

    n_files: int
    n_bad: int
    """Files of which not all could be classified, or that are else not as they should be."""
    audio_s: float
    """Classified."""
    n_detections: int


def classify_folder(
    request: Request,
    hire: Callable[[Work, Pace], Workers],
    stream: TextIO,
    stopped: Callable[[], bool] = lambda: False,
) -> Summary | None:
    """Classify what is not classified yet.

    Parameters
    ----------
    request : Request
    hire : callable
    stream : TextIO
        Is told how far it has come.
    stopped : callable
        Asked now and then.

    Returns
    -------
    Summary or None
        None: it was stopped, and goes on another time.

    Raises
    ------
    StateError
        The results are of other files or settings, or somebody else is at work there.
    EdgeProbeError
        There is nothing to do, or it cannot be done.
    OSError
        A disk fails.
    """
    _make_folder(request.out)
    with _named(request.out), _alone(request.out), _listed(request) as (plan, listing):
        parts = Parts(request.out)
        parts.make()
        sizes = listing.batch_bytes()
        missing = [number for number in plan.batches() if not parts.is_done(number)]
        total = sum(sizes[number] for number in plan.batches())
        pace = Pace(stream, total, total - sum(sizes[number] for number in missing))
        try:
            workers = hire(request.work, pace)
            batches = (listing.batch(number) for number in missing)
            for result in workers.results(batches, stopped):
                parts.write(result, request.bundle.sha256)
                pace.kept(result.number)
        finally:
            pace.end()
        if not all(parts.is_done(number) for number in plan.batches()):
            return None
        return finish(request.out, plan)


def finish(out: Path, plan: Plan) -> Summary:
    """Write ``bad.csv`` of a survey, or of one of its shards, that is complete.

    Raises
    ------
    StateError
        Results cannot be read.
    OSError
        The disk fails.
    """
    parts, n_files, n_bad, audio_s = Parts(out), 0, 0, 0.0
    part = hidden_name(out / BAD, "new")
    with part.open("x", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", "problem", "classified_s"])
        for row in parts.rows(FILES, plan.batches()):
            n_files, audio_s = n_files + 1, audio_s + row["classified_s"]
            if row["problem"] is not None:
                n_bad += 1
                table.writerow([row["path"], row["problem"], row["classified_s"]])
    sync(part)
    part.replace(out / BAD)
    return Summary(n_files, n_bad, audio_s, parts.count(DETECTIONS, plan.batches()))


def _make_folder(out: Path) -> None:
    if not out.parent.is_dir():
        raise EdgeProbeError(f"{out.parent}: no such folder", hint="make it, or name another")
    if out.exists() and not is_survey(out) and not _is_begun(out):
        raise EdgeProbeError(
            f"{out}: expected a new folder or one of classify, found something else",
            hint="name another with --out",
        )
    out.mkdir(exist_ok=True)


def _is_begun(out: Path) -> bool:
    """Whether there is nothing in it but what a kill may leave of the first seconds."""
    return out.is_dir() and all(
        one.name in {"lock", LIST} or one.name.startswith(".") for one in out.iterdir()
    )


@contextmanager
def _named(out: Path) -> Iterator[None]:
    """Say which disk is full: the error has no name where a file that is open cannot grow."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _FULL:
            error.filename = str(out)
        raise


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Nobody else at work in this folder, as far as its file system can tell."""
    with ExitStack() as stack:
        try:
            stack.enter_context(hold(out))
        except ImportError:  # Windows
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning("%s: its file system has no locks: see that nobody else writes there", out)
        yield


@contextmanager
def _listed(request: Request) -> Iterator[tuple[Plan, Listing]]:
    """Plan and list of files, both as before if there were any."""
    out, part = request.out, request.out / f".{LIST}.new"
    _log.info("listing %s", request.folder)
    try:
        make_list(request.folder, part, request.batch_bytes)
        with Listing(part) as listing:
            plan = request.plan(listing)
            if is_survey(out):
                _refuse_other(out, Plan.read(out), plan, listing)
            elif request.utc_offset is None:
                _ask_for_offset(request.folder, listing)
        sync(part)
        part.replace(out / LIST)
    finally:
        part.unlink(missing_ok=True)
    plan.write(out)
    _log.info("%d files in %d batches", plan.n_files, plan.n_batches)
    with Listing(out / LIST) as listing:
        yield plan, listing


def _refuse_other(out: Path, before: Plan, plan: Plan, listing: Listing) -> None:
    if before.extent != plan.extent:
        change = listing.difference(out / LIST)
        raise StateError(
            f"{out}: is about {before.n_files} files, found {plan.n_files}: {change}",
            hint="restore them, or classify what is new into another folder",
        )
    if (difference := before.difference(plan)) is not None:
        raise StateError(
            f"{out}: holds results of other settings: {difference}",
            hint=f"give the same options ({NAME} has them), or another folder with --out",
        )


def _ask_for_offset(folder: Path, listing: Listing) -> None:
    """See beforehand that the time of no file needs an offset that was not given."""
    for entry in listing.entries():
        try:
            told_start(folder / entry.path, None)
        except UnknownOffsetError:
            raise
        except (EdgeProbeError, OSError):  # told when it is classified
            continue
