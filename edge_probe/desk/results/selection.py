"""Which detections are told, what of them was left out, and where they lie in their files."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge_probe.deployment.settings import Settings
from edge_probe.desk.archive import Archive
from edge_probe.desk.rows import DetectionRow, Segment
from edge_probe.desk.told import Told, open_told
from edge_probe.errors import EdgeProbeError

SHA_DIGITS = 8
"""Of a bundle's hash, at least, to choose it by, and shown in messages."""


class Selection:
    """Detections of an archive that are to be told, and a count of those that were not.

    Detections of private classes are in no format.

    Parameters
    ----------
    archive : Archive
    bundle : str, optional
        Id of a bundle, or the first digits of its hash; None: all of them.
    """

    def __init__(self, archive: Archive, bundle: str | None = None) -> None:
        self.archive = archive
        self.left_out: Counter[str] = Counter()
        """Reasons, as they end a sentence, and how many detections."""
        self._wanted = bundle
        self._open: Told | None = None
        self._found: dict[str, str] = {}
        self._told: dict[str, str] = {}

    def deployments(self) -> Iterator[Told]:
        """Of the archive, each open until the next one is asked for.

        Raises
        ------
        EdgeProbeError
            At the end: no detection is of the bundle that was asked for, but others are.
        """
        for folder in self.archive.folders:
            self.close()
            self._open = open_told(folder)
            yield self._open
        self.close()
        if self._wanted is not None and self._found and not self._told:
            raise EdgeProbeError(
                f"--bundle {self._wanted}: expected one that detected something, found"
                f" {_named(self._found)}",
                hint=f"give its id or at least {SHA_DIGITS} digits of its hash",
            )

    def close(self) -> None:
        """Let go of the deployment that is open, if somebody stopped on the way."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def all_of(self, deployment: Told) -> Iterator[DetectionRow]:
        """Every detection of the chosen bundles that is not private; suppressed ones say so."""
        for row in deployment.detections():
            self._found[row.bundle_sha256] = row.bundle
            if not self._is_wanted(row):
                continue
            self._told[row.bundle_sha256] = row.bundle
            if row.private:
                self.leave_out("are of private classes")
            else:
                yield row

    def expected(self, deployment: Told) -> Iterator[DetectionRow]:
        """As `all_of`, without what the species list suppresses."""
        for row in self.all_of(deployment):
            if row.suppressed:
                self.leave_out("are suppressed by the species list (jsonl and parquet have them)")
            else:
                yield row

    def one_bundle(self, deployment: Told) -> Iterator[DetectionRow]:
        """As `expected`, for a format without a column for the bundle.

        Raises
        ------
        EdgeProbeError
            They are of several bundles, also over deployments.
        """
        for row in self.expected(deployment):
            if len(self._told) > 1:
                raise EdgeProbeError(
                    "this format has no column for the bundle, and the detections are of several:"
                    f" {_named(self._told)}",
                    hint="choose one with --bundle, or take jsonl or parquet, which have one",
                )
            yield row

    def leave_out(self, reason: str) -> None:
        """Count a detection that cannot be told in this format."""
        self.left_out[reason] += 1

    def _is_wanted(self, row: DetectionRow) -> bool:
        wanted = self._wanted
        if wanted is None or row.bundle == wanted:
            return True
        return len(wanted) >= SHA_DIGITS and row.bundle_sha256.startswith(wanted.lower())


NO_FILE = "begin in audio that the ledger lost"
NO_AUDIO = "begin in a file that is not there"
NO_TIME = "have no time: the clock was never set (edge-probe retime puts that right)"


def placed(
    selection: Selection, rows: Iterator[DetectionRow]
) -> Iterator[tuple[DetectionRow, Segment]]:
    """Detections with the segment they begin in; others are left out."""
    for row in rows:
        if row.segment is None:
            selection.leave_out(NO_FILE)
        else:
            yield row, row.segment


def audible(
    selection: Selection, rows: Iterator[DetectionRow]
) -> Iterator[tuple[DetectionRow, Segment, Path]]:
    """Detections with the segment and the file they begin in; without a file they are left out."""
    for row, segment in placed(selection, rows):
        if segment.path is None:
            selection.leave_out(NO_AUDIO)
        else:
            yield row, segment, segment.path


def audio_path(deployment: Told, segment: Segment) -> Path:
    """Where the audio is, or was."""
    return segment.path or deployment.audio / segment.name


def in_utf8(path: Path) -> Path:
    """The path, if a text can hold it.

    Raises
    ------
    EdgeProbeError
        It has other bytes.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise EdgeProbeError(
            f"{path}: expected a path in UTF-8, found one that no text can hold",
            hint="rename the folder",
        ) from None
    return path


def samples_in_file(row: DetectionRow, segment: Segment) -> tuple[int, int]:
    """Begin and end of the box within the file of its segment, which it does not leave."""
    first = segment.start_sample
    return row.start_sample - first, min(row.end_sample, segment.end_sample) - first


def seconds(samples: int, rate_hz: int, decimals: int) -> str:
    """Rounded down, so that an end is never behind the end of the audio."""
    ticks = samples * 10**decimals // rate_hz
    whole, rest = divmod(ticks, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}"


def local(moment: datetime, settings: Settings) -> datetime:
    """In the fixed offset of the deployment; UTC where it has none."""
    return moment.astimezone(timezone(settings.utc_offset or timedelta(0)))


def _named(bundles: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({sha[:SHA_DIGITS]})" for sha, name in bundles.items())
