"""A process with our road from file to logits: clips in, logits and costs out.

``python our_process.py REQUEST``, as `alternative_process.py`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.measure import peak_rss_mib
from edge_probe.source.files import AudioFile


def listen(analyser: ChunkAnalyser, path: str) -> NDArray[np.float64]:
    """Logits of the one window that a clip is."""
    found: list[NDArray[np.float64]] = []
    with AudioFile(Path(path)) as audio:
        run = Run(audio.name, audio.channel, audio.sample_rate_hz)
        classifier = RunClassifier(analyser, run, lambda _, logits: found.append(logits))
        for block in audio:
            classifier.push(block)
        classifier.finish()
    (logits,) = found
    return logits


def main() -> None:
    """Hear all clips; CPU time from the second one on."""
    request = json.loads(sys.argv[1])
    analyser = ChunkAnalyser(open_bundle(Path(request["bundle"])), request["profile"])
    logits = [listen(analyser, request["clips"][0])]
    begin = time.process_time()
    logits += [listen(analyser, path) for path in request["clips"][1:]]
    spent = time.process_time() - begin
    np.save(request["logits"], np.stack(logits))
    print(json.dumps({"cpu_s": spent, "peak_rss_mib": peak_rss_mib()}))


if __name__ == "__main__":
    main()
