"""9,736 species with 20 prototypes each: what such a head takes on disk and in memory."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from support.tiny_bundle import GOLDEN

from edge_probe.bundle import Manifest, open_bundle, verify
from edge_probe.bundle.tensors import head_spec, pack_head, parse_head
from edge_probe.head import GroupedInt8Linear, ProtobinHead, backends

N_CLASSES, N_OWN = 9_736, 20

MEASURE = """
import gc, json, sys
from pathlib import Path
import numpy as np
from edge_probe.head import GroupedInt8Linear, ProtobinHead

def mib(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024

bits, n_classes, n_own, n_dims, n_tokens = int(sys.argv[1]), 9_736, 20, 768, 512
rng = np.random.default_rng(0)
packed = rng.integers(0, 256, (n_classes * n_own, n_dims // 8), np.uint8)
weights = rng.integers(-127, 128, (n_classes, n_own)).astype(np.int8)
linear = GroupedInt8Linear(weights, np.ones(n_classes), np.zeros(n_classes))
reference = np.zeros(len(packed), np.float32)
tokens = rng.standard_normal((n_tokens, n_dims), np.float32)
warm = ProtobinHead(packed[:64], np.zeros(n_dims, np.float32), bits,
                    GroupedInt8Linear(weights[:16, :4].copy(), np.ones(16), np.zeros(16)),
                    reference[:64])
valid = np.ones(n_tokens, bool)
warm.logits(warm.merge([warm.summarise(tokens, valid)]))
gc.collect()
Path("/proc/self/clear_refs").write_text("5")
before = mib("VmRSS")
head = ProtobinHead(packed, np.zeros(n_dims, np.float32), bits, linear, reference)
window = head.merge([head.summarise(tokens, valid)])
logits = head.logits(window)
exact = (weights * np.rint(window.scores * 2**20).astype(np.int64).reshape(n_classes, n_own)).sum(1)
from edge_probe.head import reference as oracle
peak = mib("VmHWM") - before
some = rng.integers(0, len(packed), 300)
scores, first = oracle.max_scores(head.digits(tokens, valid), packed[some])
right = bool((logits * 2**20 == exact).all() and (scores == window.scores[some]).all()
             and (first == window.tokens[some]).all())
print(json.dumps({"mib": peak, "right": right,
                  "kernel": head.backend.name}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc (Linux)")
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_194720_prototypes_take_at_most_25_mib_more(bits: int) -> None:
    """Beyond the packed bits and W: the kernel's own order of the bits, and one chunk's work."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(bits)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kernel"] == backends.choose(bits, 768, 194_720, 512).name  # type: ignore[arg-type]
    assert result["right"]
    assert result["mib"] <= 25


def class_bound(n_dims: int) -> ProtobinHead:
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (N_CLASSES, N_OWN)).astype(np.int8)
    return ProtobinHead(
        rng.integers(0, 256, (N_CLASSES * N_OWN, n_dims // 8), np.uint8),
        np.zeros(n_dims, np.float32),
        1,
        GroupedInt8Linear(weights, np.ones(N_CLASSES), np.zeros(N_CLASSES)),
        np.zeros(N_CLASSES * N_OWN, np.float32),
    )


def manifest_of(head: ProtobinHead) -> Manifest:
    tiny = open_bundle(GOLDEN, verify=verify.is_valid).manifest
    encoder = replace(tiny.encoder, grid=replace(tiny.encoder.grid, n_dims=head.n_dims))
    return replace(tiny, encoder=encoder, head=head_spec(head), n_classes=head.n_classes)


@pytest.mark.parametrize(("n_dims", "limit"), [(768, 25_000_000), (1024, 25 * 2**20)])
def test_all_species_of_xeno_canto_fit_into_25_mb(n_dims: int, limit: int) -> None:
    """19.8 MB at D = 768; 26.1 MB (24.9 MiB) at D = 1024, 24.9 MB of them prototypes."""
    head = class_bound(n_dims)
    data = pack_head(head)
    assert len(data) <= limit
    read = parse_head(data, manifest_of(head))
    assert isinstance(read, ProtobinHead)
    scores = np.random.default_rng(1).uniform(-1, 1, N_CLASSES * N_OWN).astype(np.float32)
    integers = np.rint(scores * 2**20).astype(np.int64).reshape(N_CLASSES, N_OWN)
    exact = (head.linear.weights.astype(np.int64) * integers).sum(axis=1)
    assert (read.linear.logits(scores) * 2**20 == exact).all()
    assert (read.prototypes == head.prototypes).all()
