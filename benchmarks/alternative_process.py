"""A process as somebody would write it: soundfile, soxr, onnxruntime, and nothing of ours.

``python alternative_process.py REQUEST``; clips in, logits and costs out.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import soundfile as sf
import soxr

Array = Any


def session(path: str) -> ort.InferenceSession:
    """As it comes, but for the threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def chunks_of(path: str, rate: int, size: int) -> Array:
    """A clip at the model's rate, in whole chunks, and its length in samples."""
    samples, native = sf.read(path, dtype="float32")
    samples = soxr.resample(samples, native, rate)
    n_chunks = -(-len(samples) // size)
    padded = np.zeros(n_chunks * size, np.float32)
    padded[: len(samples)] = samples
    return padded.reshape(n_chunks, size), len(samples)


def listener(request: dict[str, Any]) -> Callable[[str], Array]:
    """From a clip to its logits."""
    encoder, head = session(request["encoder"]), session(request["head"])
    rate, size = request["rate"], request["chunk_samples"]
    centres = np.array(request["centres"])  # of tokens, in samples of their chunk
    name = head.get_inputs()[0].name

    def logits(path: str) -> Array:
        chunks, n_samples = chunks_of(path, rate, size)
        heard = []
        for index, chunk in enumerate(chunks):
            found = encoder.run([request["output"]], {request["input"]: chunk[np.newaxis]})[0][0]
            tokens = found.reshape(len(found), -1).T
            heard.append(tokens[centres < n_samples - index * size])
        tokens = np.concatenate(heard)
        if request["pools"]:
            tokens = tokens.mean(axis=0, keepdims=True)
        return head.run(None, {name: tokens})[0][0]

    return logits


def birdnet(request: dict[str, Any]) -> Callable[[str], Array]:
    """The whole of BirdNET 2.4; what it says is thrown away."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(request["model"], num_threads=1)
    model.allocate_tensors()
    place = model.get_input_details()[0]["index"]
    result = model.get_output_details()[0]["index"]

    def logits(path: str) -> Array:
        for chunk in chunks_of(path, 48_000, 144_000)[0]:
            model.set_tensor(place, chunk[np.newaxis])
            model.invoke()
            model.get_tensor(result)
        return np.empty(0)

    return logits


def main() -> None:
    """Hear all clips; CPU time from the second one on."""
    request = json.loads(sys.argv[1])
    listen = birdnet(request) if "model" in request else listener(request)
    logits = [listen(request["clips"][0])]
    begin = time.process_time()
    logits += [listen(path) for path in request["clips"][1:]]
    spent = time.process_time() - begin
    if "logits" in request:
        np.save(request["logits"], np.stack(logits))
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    print(json.dumps({"cpu_s": spent, "peak_rss_mib": peak / 1024}))


if __name__ == "__main__":
    main()
