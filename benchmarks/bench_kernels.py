"""The packed head against every library that could do its work, on one core.

Each peer and size is one process (``contest.py``) in which the peer and our kernels take turns.
Results are kept as they come: the same command goes on where an interrupted run stopped.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import ceiling
import kernel_tables
import table
from machine import KEPT_MEMORY, ONE_THREAD, cpu_flags, machine, pin, refuse_emulation
from peers import PEERS, Peer
from problem import Size

from edge_probe import head

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
KERNELS_README = ROOT / "edge_probe" / "head" / "native" / "README.md"
PARTS = RESULTS / "kernels.part.jsonl"

REFERENCE = Size(10_000, 512, 768)
FULL = [REFERENCE] + [
    size
    for size in map(Size._make, product((420, 10_000, 194_720), (64, 256, 512), (256, 768, 1024)))
    if size != REFERENCE
]
QUICK = [REFERENCE, Size(420, 512, 768)]
SMOKE = [Size(100, 40, 128)]

ROUNDS = {"seconds": 1.5, "least": 3, "most": 200}
"""Rounds of one process: as many as fit into the seconds, within limits."""
ONE_ROUND = {"seconds": 0.0, "least": 1, "most": 1}

MAX_BYTES = 8 * 2**30

Result = dict[str, Any]


def contest(peer: Peer, size: Size, rounds: dict[str, Any]) -> list[Result] | str:
    """The rows of one peer and size, from a process of their own.

    Or why there are none: something was wrong before it was timed, or a library crashed.
    """
    request = json.dumps({"peer": peer.name, "size": size, **rounds})
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("contest.py"), request],
        env=os.environ | ONE_THREAD | KEPT_MEMORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        return done.stderr.strip() or f"exit status {done.returncode}"
    rows: list[Result] = json.loads(done.stdout.splitlines()[-1])
    return rows


def measure(
    sizes: list[Size], rounds: dict[str, Any], done: list[Result], keep: Callable[[Result], None]
) -> Result:
    """Everything that is not done yet, and all of it together.

    Parameters
    ----------
    done : list of parts of an earlier run
    keep : called with each new part

    Returns
    -------
    dict
        ``rows``, ``missing`` (peers that are not installed), ``skipped`` (too large), ``failed``.
    """
    present = [peer for peer in PEERS if peer.is_installed]
    missing = [peer.name for peer in PEERS if not peer.is_installed]
    pairs = [(size, peer) for size in sizes for peer in present]
    parts = {(part["peer"], Size(*part["size"])): part["rows"] for part in done}
    skipped, failed, rows = [], [], []
    for number, (size, peer) in enumerate(pairs, start=1):
        if peer.estimated_bytes(size) > MAX_BYTES:
            needed = peer.estimated_bytes(size) / 2**30
            skipped.append({"peer": peer.name, "size": size, "why": f"needs {needed:.1f} GiB"})
            continue
        if (peer.name, size) not in parts:
            outcome = contest(peer, size, rounds)
            if isinstance(outcome, str):
                print(f"{peer.name}, {size} failed: {outcome}", file=sys.stderr, flush=True)
                failed.append({"peer": peer.name, "size": size, "why": outcome})
                continue
            parts[peer.name, size] = outcome
            keep({"peer": peer.name, "size": size, "rows": outcome})
            _progress(outcome, size, len(pairs) - number)
        rows += parts[peer.name, size]
    return {"missing": missing, "skipped": skipped, "failed": failed, "rows": rows}


def _progress(rows: list[Result], size: Size, n_left: int) -> None:
    first = rows[0]
    quickest = min((row for row in rows[1:] if row["kind"] == "match"), key=_cpu_ms)
    print(
        f"{n_left:4} left  {size}  {first['name']}: {_cpu_ms(first):g} ms; ours: "
        f"{_cpu_ms(quickest):g} ms ({quickest['name']}, {quickest['bits']})",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def _cpu_ms(row: Result) -> float:
    return float(row["cpu_ms"])


def facts() -> Result:
    """The machine, its instruction sets and the versions of the peers."""
    packages = {"torch", "faiss-cpu", "numkong", "simsimd", "usearch"}
    installed = {dist.name.lower(): dist.version for dist in metadata.distributions()}
    versions = {name: installed[name] for name in sorted(packages & installed.keys())}
    return {**machine(), "flags": cpu_flags(), "peers": versions, "head_sha256": _head_sha256()}


def _head_sha256() -> str:
    """Of the code that is measured and that measures: results of others must not be mixed."""
    digest = hashlib.sha256()
    for folder in (Path(head.__file__).parent, Path(__file__).parent):
        for path in sorted(path for end in ("c", "h", "py") for path in folder.rglob(f"*.{end}")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def earlier(header: Result) -> list[Result]:
    """Parts of an interrupted run on this machine with these versions.

    Raises
    ------
    SystemExit
        The parts were measured on something else.
    """
    if not PARTS.exists():
        RESULTS.mkdir(exist_ok=True)
        _append({"machine": header, "ceiling": ceiling.measure()})
    first, *parts = map(json.loads, PARTS.read_text(encoding="utf-8").splitlines())
    if {**first["machine"], "date": ""} != {**header, "date": ""}:
        raise SystemExit(f"{PARTS} is of another machine or other versions: remove it first")
    return [first, *parts]


def _append(part: Result) -> None:
    with PARTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(part) + "\n")


def as_json(result: Result) -> str:
    """The result with one row a line: readable, and small differences between runs."""
    head = json.dumps({**result, "rows": []}, indent=1)
    rows = ",\n".join("  " + json.dumps(row) for row in result["rows"])
    return head.replace('"rows": []', f'"rows": [\n{rows}\n ]') + "\n"


def write(result: Result) -> None:
    """``kernels.json``, ``kernels.md``, ``kernels_roofline.png``, and the tables in READMEs."""
    (RESULTS / "kernels.json").write_text(as_json(result), encoding="utf-8")
    (RESULTS / "kernels.md").write_text(kernel_tables.render(result), encoding="utf-8")
    table.put(KERNELS_README, kernel_tables.of_ours(result))
    table.put(ROOT / "README.md", table.render(table.load(RESULTS)))
    import roofline

    roofline.draw(result, RESULTS / "kernels_roofline.png")


def main() -> None:
    """Measure; see the README of this folder."""
    parser = argparse.ArgumentParser(description="The packed head against its peers.")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--smoke", action="store_true", help="one tiny size once, write nothing")
    extent.add_argument("--quick", action="store_true", help="the reference size and M = 420 only")
    args = parser.parse_args()
    refuse_emulation()
    pin()
    if args.smoke:
        result = {"machine": facts(), "ceiling": ceiling.measure()}
        result |= measure(SMOKE, ONE_ROUND, [], lambda _: None)
        print(as_json(result), end="")
        sys.exit(bool(result["failed"]))
    if find_spec("matplotlib") is None:
        raise SystemExit("matplotlib is missing: pip install -e '.[export,bench]'")
    first, *parts = earlier(facts())
    result = first | measure(QUICK if args.quick else FULL, ROUNDS, parts, _append)
    write(result)
    if result["failed"]:
        raise SystemExit("some peers failed: the same command tries them again")
    PARTS.unlink()


if __name__ == "__main__":
    main()
