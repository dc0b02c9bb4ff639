"""``edge-export encoder profile``: memory, what is read again, time."""

import argparse
import json

from export.commands.encoder_arguments import add_encoder, card_of
from export.commands.tokens import whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``profile``."""
    add_encoder(parser)
    parser.add_argument(
        "--cap-mib", type=whole_number(16, 2**20), nargs="+", default=[350, 180, 130],
        metavar="MIB", help="memory caps to try (default: 350 180 130)",
    )  # fmt: skip
    parser.add_argument("--chunks", type=whole_number(1, 10_000), default=20, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a line for each process."""
    from export.encoders.profile import Cost, profile

    found = profile(card_of(args.encoder, args.card), args.cap_mib, args.chunks)
    if args.json:
        print(json.dumps(found.figures(), indent=1))
        return 0
    print(f"file      {found.file_mib:.1f} MiB, graph and data")
    print("profile     cap  load peak  anonymous  mapped  total  faults  reread     ms   verdict")
    for cost in found.costs:
        cap = "-" if cost.cap_mib is None else str(cost.cap_mib)
        line = f"{cost.profile:<10} {cap:>4}  "
        if isinstance(cost, Cost):
            kinds = (cost.anonymous_mib, cost.file_mapped_mib)
            anonymous, mapped = ("-" if mib is None else f"{mib:.0f}" for mib in kinds)
            line += (
                f"{cost.load_peak_mib:9.0f}  {anonymous:>9}  {mapped:>6}  {cost.total_mib:5.0f}  "
                f"{cost.major_faults_per_chunk:6.1f}  {cost.reread_mib_per_chunk:6.1f}  "
                f"{cost.chunk_ms:5.0f}   "
            )
        print(line + cost.verdict)
    print("MiB, each line a process of its own; faults, reread and ms per chunk in steady state")
    if found.why_no_caps:
        print(f"no caps   {found.why_no_caps}")
    return 0
