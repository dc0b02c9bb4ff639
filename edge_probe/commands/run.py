"""``edge-probe run``: the recorder, to be left in a forest."""

import argparse
import logging
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edge_probe.arguments import number, whole
from edge_probe.commands.state import add_state

if TYPE_CHECKING:
    from edge_probe.analysis.gate import GateOptions
    from edge_probe.analysis.rules import Rules
    from edge_probe.deployment.settings import Settings
    from edge_probe.deployment.state import StateFolder
    from edge_probe.disk.sample import Design
    from edge_probe.station import Orders

_log = logging.getLogger(__name__)

KEEP = ("all", "sample+detections", "detections")

STRATA = ((0.1, 1), (0.3, 2), (0.6, 5), (0.9, 10))
"""Of the stratified sample: scores from here on, drawn so many times as often as the random one.
High scores are rare, and say most about a threshold when people have listened to them."""


MAX_GB = 1e6
"""Above any card."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``run``."""
    add_state(parser)
    parser.add_argument("--settings", type=Path, metavar="FILE.toml",
                        help="options from a file, as rate = 48000; those given here win. Where"
                        " neither names one, a deployment.toml beside it is taken")  # fmt: skip
    parser.add_argument(
        "--only",
        choices=("record", "classify"),
        help="one of the two processes; a service of its own is the other one",
    )
    parser.add_argument("--bundle", type=Path, help="classify with it; default: record only")
    parser.add_argument(
        "--deployment", type=Path, metavar="FILE.toml", help="who, where, with what"
    )
    sound = parser.add_argument_group("microphone")
    sound.add_argument("--device", metavar="NAME", help="usb:VENDOR:PRODUCT, card:NAME or a name")
    sound.add_argument(
        "--rate", type=whole(8_000, 384_000), metavar="HZ", help="default: the device's own rate"
    )
    sound.add_argument("--channels", type=int, choices=range(1, 9), default=1, metavar="N",
                       help="channels to record (default 1)")  # fmt: skip
    sound.add_argument("--bits", type=int, choices=(16, 24, 32), default=16, help="(default 16)")
    sound.add_argument("--segment", type=number(1, 3600), default=60.0, metavar="S",
                       help="length of a file (default 60), at most 4 GiB")  # fmt: skip
    disk = parser.add_argument_group("disk")
    disk.add_argument("--keep", choices=KEEP, default="all", help="what is not deleted; all: "
                      "nothing is, recording stops when the disk is full (default)")  # fmt: skip
    disk.add_argument("--quota", type=number(1e-3, MAX_GB), metavar="GB",
                      help="of the state folder (default: all but the floor)")  # fmt: skip
    disk.add_argument("--floor", type=number(0, MAX_GB), default=1.0, metavar="GB",
                      help="that stay free on the disk (default 1)")  # fmt: skip
    disk.add_argument("--sample", type=number(0, 1), default=0.01, metavar="P",
                      help="share of windows in the random sample (default 0.01); with a bundle,"
                      " windows are also drawn by score, up to ten times as often")  # fmt: skip
    disk.add_argument("--no-flac", action="store_true", help="leave closed segments as WAV")
    disk.add_argument("--plan", type=number(0.01, 10_000), metavar="DAYS",
                      help="say what so many days will do to the disk, and end")  # fmt: skip
    disk.add_argument("--accept-deletion", action="store_true",
                      help="needed where the policy will delete audio")  # fmt: skip
    hear = parser.add_argument_group("classifier")
    hear.add_argument("--species", type=Path, metavar="FILE.csv", help="expected here and now")
    hear.add_argument("--private", action="append", default=[], metavar="LABEL",
                      help="overwrite the audio of this class with zeros")  # fmt: skip
    hear.add_argument("--private-margin", type=number(0, 600), default=5.0, metavar="S",
                      help="before and after it (default 5)")  # fmt: skip
    hear.add_argument("--backlog", type=number(1, 1e9), default=600.0, metavar="S",
                      help="audio that may wait; older is skipped (default 600)")  # fmt: skip
    hear.add_argument("--gate", type=number(1, 60), metavar="DB",
                      help="encode only what is so much louder than usual (try 6)")  # fmt: skip
    hear.add_argument("--gate-low", type=number(0, 192_000), metavar="HZ",
                      help="where the gate begins to listen (default 1000)")  # fmt: skip
    hear.add_argument("--gate-high", type=number(1, 192_000), metavar="HZ",
                      help="and up to where (default 8000)")  # fmt: skip
    hear.add_argument("--check-only", action="store_true", help=argparse.SUPPRESS)
    hear.add_argument("--beat-fd", type=int, help=argparse.SUPPRESS)
    hear.add_argument("--forgive", action="store_true", help=argparse.SUPPRESS)


NOT_IN_FILE = ("state", "settings", "only", "plan", "check_only", "beat_fd", "forgive")
"""Arguments that a settings file cannot hold: two services share it."""


def settings_words(path: Path) -> list[str]:
    """Arguments that a settings file stands for.

    Raises
    ------
    DeploymentError
        It cannot mean what it says.
    """
    from edge_probe.deployment.options import read_options

    return read_options(path, add_arguments, without=NOT_IN_FILE)


def options_from(args: argparse.Namespace) -> list[str]:
    """Options from files, for `edge_probe.cli` to put before those that were typed."""
    if args.settings is None:
        return []
    words = settings_words(args.settings)
    beside = args.settings.with_name("deployment.toml")
    if not any(word.startswith("--deployment=") for word in words) and beside.is_file():
        words.append(f"--deployment={beside}")
    return words


def run(args: argparse.Namespace) -> int:
    """Record until SIGTERM or Ctrl-C."""
    from edge_probe.deployment.state import StateFolder
    from edge_probe.errors import EdgeProbeError

    if args.bundle is None and (
        args.species or args.private or args.gate or args.only == "classify"
    ):
        raise EdgeProbeError(
            "the classifier, its gate, species and private classes need a bundle",
            hint="add --bundle, or record only",
        )
    if args.gate is None and (args.gate_low, args.gate_high) != (None, None):
        raise EdgeProbeError(
            "--gate-low and --gate-high are about a gate, and none was asked for",
            hint="add --gate 6, or leave them out",
        )
    if args.only != "record":  # what only the classifier needs keeps nobody from recording
        for path in (args.bundle and args.bundle / "manifest.json", args.species):
            if path and not path.is_file():
                raise EdgeProbeError(
                    f"{path}: no such file", hint="give a bundle's folder, and files"
                )
    if args.gate and args.private and args.only != "classify" and not args.check_only:
        _log.warning("what is private and too quiet for the gate stays in what is kept")
    state = StateFolder(args.state)
    if args.check_only:
        return _check(args, state)
    if args.only == "classify":
        return _classify(args, state)
    if args.keep != "all" and not args.accept_deletion and not args.plan:
        raise EdgeProbeError(
            f"--keep {args.keep} deletes audio when the disk fills up",
            hint="see what it means with --plan DAYS, then add --accept-deletion",
        )
    return _plan(args, state.path) if args.plan else _record(args, state)


def _make(folder: Path) -> None:
    """The state folder, if it is not there yet."""
    from edge_probe.errors import StateError

    if (folder / "manifest.json").exists():
        raise StateError(
            f"{folder}: expected a folder for recordings, found a bundle",
            hint="edge-probe run STATE --bundle BUNDLE",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StateError(
            f"{folder}: expected a folder, found something else", hint="give another name"
        ) from error
    except PermissionError as error:
        raise StateError(
            f"{folder}: this user may not make it",
            hint=f"sudo install -d -o $USER {folder}, or name another folder: edge-probe run STATE",
        ) from error


def _record(args: argparse.Namespace, state: "StateFolder") -> int:
    from edge_probe.clock import SystemClock
    from edge_probe.deployment.settings import adopt
    from edge_probe.errors import StateError
    from edge_probe.interrupt import Interrupted
    from edge_probe.lock import hold
    from edge_probe.log import never_wait
    from edge_probe.station import Station

    _make(state.path)
    with hold(state.path):
        if args.bundle and args.only is None and not state.capture.exists():
            # By a process of its own: the recorder is to stay small. Only before the first
            # recording: after a power cut audio comes first, whatever became of the bundle.
            command = [*_command(args), "--check-only"]
            if code := subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
                return code
        never_wait()
        with Interrupted() as interrupted:
            settings = adopt(args.deployment, state) if args.deployment else None
            try:
                Station(state, _orders(args, state, settings), SystemClock()).run(interrupted)
            except sqlite3.Error as error:
                raise StateError(
                    f"{state.path}: the disk fails: {error}", hint="look at its free space"
                ) from error
    return 0


def _check(args: argparse.Namespace, state: "StateFolder") -> int:
    """Whether process B could work."""
    from edge_probe.bundle import open_bundle
    from edge_probe.classify import ChunkAnalyser

    bundle = open_bundle(args.bundle)
    _rules(args, state).check(bundle.labels)
    if gate := _gate(args):
        gate.check(bundle.encoder.sample_rate_hz)
    ChunkAnalyser(bundle, "low-memory")
    return 0


def _classify(args: argparse.Namespace, state: "StateFolder") -> int:
    from edge_probe.analysis.process import run_worker
    from edge_probe.log import never_wait

    never_wait()
    # Of a link that is switched meanwhile, no file of the other bundle.
    args.bundle = args.bundle.resolve()
    run_worker(
        state.path, args.bundle, backlog_s=args.backlog, rules=_rules(args, state),
        design=_known_design(args), gate=_gate(args), beat_fd=args.beat_fd, forgive=args.forgive,
    )  # fmt: skip
    return 0


def _gate(args: argparse.Namespace) -> "GateOptions | None":
    from edge_probe.analysis.gate import GateOptions

    if not args.gate:
        return None
    band = {"low_hz": args.gate_low, "high_hz": args.gate_high}
    return GateOptions(args.gate, **{edge: hz for edge, hz in band.items() if hz is not None})


def _rules(args: argparse.Namespace, state: "StateFolder") -> "Rules":
    """What the species list and the private classes say; the bundle's labels are checked."""
    from edge_probe.analysis.rules import Rules
    from edge_probe.bundle import open_bundle

    private = frozenset(args.private)
    if args.species is None:
        return Rules(private=private)
    from edge_probe.alive.moment import dates_of
    from edge_probe.deployment.species import SpeciesList

    labels = [label.text for label in open_bundle(args.bundle).labels]
    species = SpeciesList.read(args.species, labels)
    return Rules(
        lambda label, day, score: not species.allows(label, day, score),
        dates_of(state.path),
        private,
    )


def _orders(
    args: argparse.Namespace, state: "StateFolder", settings: "Settings | None"
) -> "Orders":
    from edge_probe.capture.recorder import Wanted
    from edge_probe.disk.room import Limits
    from edge_probe.health.identity import cards, refuse_unstable
    from edge_probe.schedule.calendar import schedule_of
    from edge_probe.station import Orders

    deployment_id = settings.deployment_id if settings else None
    device: str | None = args.device
    if device is None and settings is not None:
        device = settings.microphone
    if device is not None:
        # One that is not there is waited for; one that cannot be is not.
        refuse_unstable(device, (card.identity for card in cards().values()))
    wanted = Wanted(device, args.rate, args.channels, args.bits // 8, args.segment)
    floor_bytes = round(args.floor * 1e9)
    return Orders(
        wanted,
        Limits(args.keep, _quota_bytes(args, state), floor_bytes),
        _design(args, deployment_id),
        flac=not args.no_flac,
        gain_db=settings.capture_gain_db if settings else None,
        private_margin_s=args.private_margin if args.private else None,
        classifier=_command(args) if args.bundle and args.only is None else None,
        deployment_id=deployment_id,
        has_neighbour=bool(args.bundle) and args.only == "record",
        schedule=schedule_of(settings) if settings else None,
    )


def _design(args: argparse.Namespace, deployment_id: str | None) -> "Design":
    """Of the samples; without a bundle there are no scores to draw by."""
    from edge_probe.disk.sample import Design, Stratum
    from edge_probe.station import seed_of

    strata = [Stratum(score, min(1.0, times * args.sample)) for score, times in STRATA]
    return Design(
        seed_of(deployment_id), min(10.0, args.segment), args.sample,
        tuple(strata) if args.bundle else (),
    )  # fmt: skip


def _known_design(args: argparse.Namespace) -> "Design | None":
    """Of the samples, as the recorder draws them; None where nobody can know."""
    from edge_probe.deployment.settings import read_settings
    from edge_probe.errors import DeploymentError

    try:
        known = read_settings(args.deployment).deployment_id if args.deployment else None
    except (DeploymentError, OSError) as error:  # it classifies all the same
        _log.warning("no scores are kept of sampled windows: %s", error)
        return None
    return _design(args, known)


def _quota_bytes(args: argparse.Namespace, state: "StateFolder") -> int:
    """Without a quota, the whole disk is: the floor is what bounds it."""
    from shutil import disk_usage

    return round(args.quota * 1e9) if args.quota else disk_usage(state.path).total


def _command(args: argparse.Namespace) -> list[str]:
    """Process B, with all that concerns it."""
    command = [sys.executable, "-m", "edge_probe", "run", str(args.state), "--only", "classify",
               "--bundle", str(args.bundle), "--backlog", str(args.backlog),
               "--sample", str(args.sample), "--segment", str(args.segment)]  # fmt: skip
    if args.deployment:
        command += ["--deployment", str(args.deployment)]
    if args.species:
        command += ["--species", str(args.species)]
    for label in args.private:
        command += ["--private", label]
    for option in ("gate", "gate_low", "gate_high"):
        if (value := getattr(args, option)) is not None:
            command += [f"--{option.replace('_', '-')}", str(value)]
    return command


def _plan(args: argparse.Namespace, folder: Path) -> int:
    """Say what recording would do to the disk; nothing is made."""
    from edge_probe.capture.segment import Format
    from edge_probe.disk.plan import Question, describe, plan, require_acceptance
    from edge_probe.disk.reserve import free_bytes, nearest
    from edge_probe.errors import EdgeProbeError

    if args.rate is None:
        raise EdgeProbeError("a plan needs a sample rate", hint="add --rate, for example 48000")
    room_bytes = free_bytes(nearest(folder)) - round(args.floor * 1e9)
    if args.quota:
        room_bytes = min(room_bytes, round(args.quota * 1e9))
    made = plan(Question(
        args.plan, Format(args.rate, args.channels, args.bits // 8), args.segment, args.keep,
        max(0, room_bytes), flac=not args.no_flac, design=_design(args, None),
    ))  # fmt: skip
    print("\n".join(describe(made)))
    require_acceptance(made, args.accept_deletion)
    return 0
