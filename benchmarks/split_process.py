"""A classifier process that stops after each part it loads, and tells its resident memory.

``python split_process.py REQUEST`` with ``bundle``. Nothing is imported before it is counted.
"""

import json
import sys

N_CHUNKS = 4
"""Until nothing is allocated that a next chunk would not reuse."""


def resident() -> dict[str, float]:
    """MiB of this process now: all, and what no file can give back."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - pathlib is a part
        sizes = {line.split(":")[0]: line.split()[1] for line in file if line.endswith(" kB\n")}
    return {"rss": int(sizes["VmRSS"]) / 1024, "anonymous": int(sizes["RssAnon"]) / 1024,
            "peak": int(sizes["VmHWM"]) / 1024}  # fmt: skip


def main() -> None:
    """Load one part after the other; print what is resident after each."""
    after = {"interpreter": resident()}
    import edge_probe.analysis.process  # noqa: F401, I001 - all that the classifier imports
    from pathlib import Path

    import numpy as np

    from edge_probe.bundle import open_bundle
    from edge_probe.chunk import Chunk
    from edge_probe.encoder import Encoder
    from edge_probe.head.linear import layer_bytes

    after["runtime"] = resident()
    bundle = open_bundle(Path(json.loads(sys.argv[1])["bundle"]))
    head = bundle.head
    layout = getattr(getattr(head, "match", None), "layout", np.empty(0))  # the kernel's own copy
    after["bundle"] = resident()
    encoder = Encoder(bundle.graph_path, bundle.encoder)
    after["encoder"] = resident()
    size = bundle.encoder.chunk_samples
    noise = np.random.default_rng(0).normal(0, 0.1, size).astype(np.float32)
    for index in range(N_CHUNKS):
        chunk = Chunk(index, noise, size)
        valid = bundle.encoder.grid.valid_tokens(chunk.n_valid)
        summary = head.summarise(encoder.tokens(chunk.samples), valid)
        head.logits(head.merge([summary]))  # type: ignore[arg-type,list-item]
    after["buffers"] = resident()
    packed = getattr(head, "prototypes", np.empty(0))
    head_bytes = {
        "prototypes": packed.nbytes + layout.nbytes, "linear_layer": layer_bytes(head.linear)
    }  # fmt: skip
    print(json.dumps({"after": after, "head_bytes": head_bytes}))


if __name__ == "__main__":
    main()
