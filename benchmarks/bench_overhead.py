"""What our code adds to the bare encoder session, per chunk; and the error of the head."""

import os
import tempfile
from pathlib import Path
from statistics import median
from time import process_time

import made_up
import numpy as np
import onnxruntime as ort
import soundfile as sf

from edge_probe.bundle import Bundle, open_bundle
from edge_probe.classify import ChunkAnalyser, Run, RunClassifier
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.encoder import session_options
from edge_probe.head import ProtobinHead, reference
from export.card import read_card

BLOCK = 4_800

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", HERE.parents[1] / "shared")) / "data" / "encoders"

LARGER = {"Whisper tiny": "whisper_tiny_en_encoder_f16w.onnx"}
"""Encoders above 20 ms a chunk, measured where the shared folder is."""


def measure(rounds: int) -> dict[str, object]:
    """CPU time of the whole road and of the bare session on the demo scene, in turns.

    The bare session has the same options and gets the same number of chunks. The error is that of
    the chosen kernel against the reference, over every chunk of the scene.
    """
    rows = [_row("demo encoder", open_bundle(DEMO_BUNDLE), rounds)]
    with tempfile.TemporaryDirectory() as folder:
        for name, graph in LARGER.items():
            if (SHARED / graph).is_file():
                card = read_card(SHARED / graph)
                head = made_up.protobin(1, 20, 400, card.spec.grid.n_dims)
                bundle = made_up.bundle(card, head, Path(folder) / "bundle")
                rows.append(_row(name, bundle, max(1, rounds // 3)))
    return {"rows": rows}


def _row(name: str, bundle: Bundle, rounds: int) -> dict[str, object]:
    analyser = ChunkAnalyser(bundle)
    samples, rate = sf.read(DEMO_BUNDLE.parent / "demo_scene.ogg", dtype="float32")
    n_chunks = analyser.grid(rate).n_chunks(len(samples))
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
            session.run([bundle.encoder.output_name], {bundle.encoder.input_name: chunk})
        bare.append((process_time() - begin) * 1e3 / n_chunks)
        begin = process_time()
        classifier = RunClassifier(analyser, Run("scene", 0, rate))
        for at in range(0, len(samples), BLOCK):
            classifier.push(samples[at : at + BLOCK])
        classifier.finish()
        ours.append((process_time() - begin) * 1e3 / n_chunks)
    differences = [a - b for a, b in zip(ours, bare, strict=True)]
    return {
        "encoder": name,
        "chunk_s": round(bundle.encoder.chunk_s, 3),
        "rounds": rounds,
        "n_chunks": n_chunks,
        "bare_session_ms_per_chunk": round(median(bare), 3),
        "whole_road_ms_per_chunk": round(median(ours), 3),
        "whole_road_spread_ms": [round(min(ours), 3), round(max(ours), 3)],
        "ours_ms_per_chunk": round(median(differences), 3),
        "ours_spread_ms": [round(min(differences), 3), round(max(differences), 3)],
        "cpu_s_per_s": round(median(ours) * n_chunks / 1e3 / (len(samples) / rate), 5),
        "max_error": error,
    }


def _kernel_error(analyser: ChunkAnalyser, samples: np.ndarray, rate: int) -> float:
    head, spec = analyser.bundle.head, analyser.bundle.encoder
    assert isinstance(head, ProtobinHead)
    grid, worst = analyser.grid(rate), 0.0
    for index in range(grid.n_chunks(len(samples))):
        begin, end = grid.native_slice(index)
        cut = grid.n_model_samples(len(samples)) if end > len(samples) else None
        chunk = grid.chunk(index, samples[begin:end], cut)
        tokens = analyser.encoder.tokens(chunk.samples)
        valid = spec.grid.valid_tokens(chunk.n_valid)
        heard = head.digits(tokens[valid], valid[valid])
        expected, _ = reference.max_scores(heard, head.prototypes)
        worst = max(worst, float(np.abs(expected - head.summarise(tokens, valid).scores).max()))
    return worst
