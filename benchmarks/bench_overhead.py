"""What our code adds to the bare encoder session, per chunk; and the error of the head."""

from statistics import median
from time import process_time

import numpy as np
import onnxruntime as ort
import soundfile as sf

from edge_probe.bundle import open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.encoder import session_options
from edge_probe.head import reference

BLOCK = 4_800


def measure(rounds: int) -> dict[str, object]:
    """CPU time of the whole road and of the bare session on the demo scene, in turns.

    The bare session has the same options and gets the same number of chunks. The error is that of
    the chosen kernel against the reference, over every chunk of the scene.
    """
    bundle = open_bundle(DEMO_BUNDLE)
    analyser = ChunkAnalyser(bundle)
    samples, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="float32")
    grid = analyser.grid(rate)
    n_chunks = grid.n_chunks(len(samples))
    session = ort.InferenceSession(
        str(bundle.graph_path), session_options("low-memory"), providers=["CPUExecutionProvider"]
    )
    chunk = np.zeros((1, bundle.encoder.chunk_samples), np.float32)
    error = _kernel_error(analyser, samples, rate)
    if error:
        raise SystemExit(f"the kernel is wrong by {error}: not timed")
    ours, bare = [], []
    for _ in range(rounds):
        begin = process_time()
        for _ in range(n_chunks):
            session.run(None, {bundle.encoder.input_name: chunk})
        bare.append((process_time() - begin) * 1e3 / n_chunks)
        begin = process_time()
        classifier = RunClassifier(analyser, Run("scene", 0, rate))
        for at in range(0, len(samples), BLOCK):
            classifier.push(samples[at : at + BLOCK])
        classifier.finish()
        ours.append((process_time() - begin) * 1e3 / n_chunks)
    duration_s = len(samples) / rate
    return {
        "rounds": rounds,
        "n_chunks": n_chunks,
        "bare_session_ms_per_chunk": round(median(bare), 3),
        "whole_road_ms_per_chunk": round(median(ours), 3),
        "whole_road_spread_ms": [round(min(ours), 3), round(max(ours), 3)],
        "ours_ms_per_chunk": round(median(a - b for a, b in zip(ours, bare, strict=True)), 3),
        "cpu_s_per_s": round(median(ours) * n_chunks / 1e3 / duration_s, 5),
        "max_error": error,
    }


def _kernel_error(analyser: ChunkAnalyser, samples: np.ndarray, rate: int) -> float:
    head, spec = analyser.bundle.head, analyser.bundle.encoder
    grid, worst = analyser.grid(rate), 0.0
    for index in range(grid.n_chunks(len(samples))):
        begin, end = grid.native_slice(index)
        cut = grid.n_model_samples(len(samples)) if end > len(samples) else None
        chunk = grid.chunk(index, samples[begin:end], cut)
        tokens = analyser.encoder.tokens(chunk.samples)
        valid = spec.grid.valid_tokens(chunk.n_valid)
        expected, _ = reference.max_scores(head.digits(tokens, valid), head.prototypes)
        worst = max(worst, float(np.abs(expected - head.summarise(tokens, valid).scores).max()))
    return worst
