"""``make vm``: everything, on one machine, as one result file."""

import argparse
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from edge_probe.lock import hold
from vm import estimates, user_mode, verdict
from vm.cache import DEFAULT, Cache, call, say
from vm.installed import installed
from vm.machine import PROCESSOR
from vm.parts import REPOSITORY, parts
from vm.root import system
from vm.scenario import play

RESULT = REPOSITORY / "benchmarks" / "results" / "vm.json"


def main() -> int:
    """Make what is missing, play, judge, write."""
    parser = argparse.ArgumentParser(prog="make vm", description=__doc__)
    parser.add_argument("--cache", type=Path, default=DEFAULT, help="(default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULT, help="(default %(default)s)")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and end the machine on the way
    args.cache.mkdir(parents=True, exist_ok=True)
    with hold(args.cache):  # a phase played twice at once would find the other one's sockets
        return _all(Cache(args.cache), args.out)


def _all(cache: Cache, out: Path) -> int:
    given = parts(cache)
    root = installed(cache, given.package)
    facts = {"install": json.loads((root / "facts.json").read_text("utf-8"))}
    facts |= play(cache, system(cache, root / "tree"), given)
    facts["user_mode"] = user_mode.run(cache, root / "tree")
    facts["estimates"] = estimates.rows(facts["cost"]["measured"])
    claims = verdict.judge(facts)
    result = {
        "written_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": call(
            ["git", "describe", "--always", "--dirty"], timeout_s=30, cwd=REPOSITORY
        ).strip(),
        "machine": " ".join(PROCESSOR),
        "emulator": call(["qemu-system-aarch64", "--version"], timeout_s=30).splitlines()[0],
        "note": "No Raspberry Pi was measured. Seconds are those of an emulator on a busy machine.",
        "claims": verdict.as_json(claims),
        "facts": facts,
    }
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for claim in claims:
        say(f"{'holds' if claim.holds else 'FAILS'}: {claim.what}: {claim.found}")
    return 0 if all(claim.holds for claim in claims) else 1


if __name__ == "__main__":
    sys.exit(main())
