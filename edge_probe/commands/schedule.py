"""``edge-probe schedule``: when a deployment records."""

import argparse
import json
from pathlib import Path

from edge_probe.arguments import moment
from edge_probe.commands.state import DEFAULT_STATE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``schedule``."""
    forms = parser.add_subparsers(dest="form", required=True, metavar="next|show")
    for name, text in (
        ("next", "whether it is on now, and the next times it turns; for power boards"),
        ("show", "seven days as text"),
    ):
        sub = forms.add_parser(name, help=text, description=text)
        sub.add_argument(
            "state", nargs="?", type=Path, default=DEFAULT_STATE, metavar="STATE",
            help="the recorder's folder, or a deployment file (default %(default)s)",
        )  # fmt: skip
        sub.add_argument("--at", type=moment, metavar="TIME", help="as if it were then, for example"
                         " 2026-06-01T04:00:00Z (default: now)")  # fmt: skip
        if name == "next":
            sub.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Tell what the deployment file says."""
    from edge_probe.clock import SystemClock
    from edge_probe.deployment.settings import read_settings
    from edge_probe.deployment.state import StateFolder
    from edge_probe.errors import DeploymentError
    from edge_probe.schedule.calendar import schedule_of
    from edge_probe.schedule.page import next_turns, week

    path = args.state if args.state.is_file() else StateFolder(args.state).deployment
    settings = read_settings(path)
    schedule = schedule_of(settings)
    if schedule is None:
        raise DeploymentError(
            f"{path}: it has no schedule: all the time is recorded",
            hint='add a table [schedule] with on = ["05:00 to 09:30"]',
        )
    clock = SystemClock()
    now_s = int(args.at.timestamp()) if args.at else clock.utc_ns() // 10**9
    if args.form == "show":
        print("\n".join(week(schedule, now_s)))
        return 0
    found = {"deployment_id": settings.deployment_id, **next_turns(schedule, now_s)}
    if not args.at:
        found["clock_trust"] = clock.trust()
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("".join(f"{key:<15}{_shown(value)}\n" for key, value in found.items()), end="")
    return 0


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "never" if value is None else str(value)
