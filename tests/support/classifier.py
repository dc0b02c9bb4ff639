"""A classifier process for tests: ``classifier.py STATE BUNDLE --beat-fd N``."""

import argparse
from pathlib import Path

from edge_probe.analysis.process import run_worker

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--beat-fd", type=int)
    parser.add_argument("--forgive", action="store_true")
    args = parser.parse_args()
    run_worker(
        args.state, args.bundle, backlog_s=1e9, beat_fd=args.beat_fd, forgive=args.forgive
    )  # fmt: skip
