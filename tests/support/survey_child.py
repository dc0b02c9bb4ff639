"""A survey in a program of its own, to be killed: FOLDER OUT BUNDLE, a batch for each file."""

import sys
from pathlib import Path

from edge_probe.bundle import open_bundle
from edge_probe.desk.survey.pool import Pool
from edge_probe.desk.survey.survey import Request, classify_folder
from edge_probe.interrupt import Interrupted

if __name__ == "__main__":
    folder, out, bundle = map(Path, sys.argv[1:])
    request = Request(folder, out, open_bundle(bundle), batch_bytes=1)
    with Interrupted() as interrupted:
        done = classify_folder(
            request, lambda work, pace: Pool(work, 2, pace), sys.stderr, interrupted
        )
    sys.exit(0 if done else 130)
