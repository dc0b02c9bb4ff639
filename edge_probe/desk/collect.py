"""Cards of many recorders, brought into one archive: a folder for each deployment."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from edge_probe.deployment.settings import parse_settings
from edge_probe.deployment.state import StateFolder
from edge_probe.desk.audio import is_of
from edge_probe.desk.files import WriteError, read_file
from edge_probe.desk.progress import Progress
from edge_probe.desk.record import Collection
from edge_probe.desk.snapshot import check_room, check_source, needed_bytes, snapshot
from edge_probe.errors import EdgeProbeError, StateError
from edge_probe.lock import hold


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one card."""

    source: Path
    deployment_id: str
    """Empty: it is not known."""
    collection: Collection | None
    """None: nothing was brought."""
    error: EdgeProbeError | None = None
    """Why not."""

    @property
    def is_good(self) -> bool:
        """Whether all of it was brought, and nothing was bad."""
        return self.collection is not None and not self.collection.bad


def collect(sources: Sequence[Path], archive: Path, progress: Progress) -> Iterator[Outcome]:
    """Bring cards into an archive, one after the other; a bad one does not keep the others back.

    Parameters
    ----------
    sources : sequence of Path
        State folders; not changed.
    archive : Path
        Made if it is not there.
    progress : Progress

    Yields
    ------
    Outcome
        In the order of the sources.

    Raises
    ------
    StateError
        There is not enough room, or the archive is something else.
    WriteError, OSError
        The disk of the archive fails.
    """
    if (archive / "capture.sqlite").exists():
        raise StateError(
            f"{archive}: expected an archive, found the folder of one recorder or deployment",
            hint="an archive has a folder for each deployment: give the one above, or a new one",
        )
    if archive.exists() and not archive.is_dir():
        raise StateError(f"{archive}: expected a folder, found a file", hint="name a new one")
    plans = [_plan(source, archive) for source in sources]
    check_room(archive, {path: n for plan in plans for path, n in plan.needed.items()})
    progress.total = sum(n for plan in plans for n in plan.needed.values())
    is_any_good = any(plan.error is None for plan in plans)
    if is_any_good:
        archive.mkdir(parents=True, exist_ok=True)
    with hold(archive) if is_any_good else nullcontext():
        for plan in plans:
            yield _bring(plan, archive, progress)


@dataclass(frozen=True, slots=True)
class _Plan:
    source: Path
    deployment_id: str
    needed: dict[Path, int]
    error: EdgeProbeError | None = None


def _plan(source: Path, archive: Path) -> _Plan:
    try:
        check_source(source, archive)
        deployment_id = _deployment_id(StateFolder(source))
        return _Plan(source, deployment_id, needed_bytes(source, archive / deployment_id))
    except EdgeProbeError as error:
        return _Plan(source, "", {}, error)
    except OSError as error:
        if not is_of(error, source):
            raise
        return _Plan(source, "", {}, _of_card(error))


def _deployment_id(state: StateFolder) -> str:
    if not state.deployment.exists():
        raise StateError(
            f"{state.deployment}: no such file: nobody knows which deployment this is",
            hint="edge-probe snapshot copies the card; write a deployment.toml into the copy and"
            " collect that",
        )
    return parse_settings(read_file(state.deployment), str(state.deployment)).deployment_id


def _bring(plan: _Plan, archive: Path, progress: Progress) -> Outcome:
    source, deployment_id = plan.source, plan.deployment_id
    if plan.error is not None:
        return Outcome(source, deployment_id, None, plan.error)
    try:
        found = snapshot(source, archive / deployment_id, progress)
        return Outcome(source, deployment_id, found)
    except WriteError:
        raise
    except EdgeProbeError as error:
        return Outcome(source, deployment_id, None, error)
    except OSError as error:
        if not is_of(error, source):
            raise
        return Outcome(source, deployment_id, None, _of_card(error))


def _of_card(error: OSError) -> StateError:
    return StateError(
        f"{error.filename}: {error.strerror}", hint="does the card sit well in its reader?"
    )
