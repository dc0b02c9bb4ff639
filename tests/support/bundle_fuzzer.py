"""A coverage-guided fuzzer over all that reads bundles: ``python -m support.bundle_fuzzer``.

It ends with status 0 after so many inputs or seconds and writes what it saw as JSON. Anything
else than ``RejectedBundleError`` that escapes (``MemoryError``, too), an input that is accepted
without its signature, or 10 s without an answer end it with another status and the input on disk.
"""

import argparse
import io
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time

import atheris

with atheris.instrument_imports(include=["edge_probe.bundle"]):
    from support.owner import GOLDEN_EPB, TRUSTED
    from support.tiny_bundle import GOLDEN

    from edge_probe.bundle import verify
    from edge_probe.bundle.graph import check_graph
    from edge_probe.bundle.labels import parse_labels
    from edge_probe.bundle.manifest import parse_manifest
    from edge_probe.bundle.reject import RejectedBundleError
    from edge_probe.bundle.tensors import parse_calibration, parse_conformance, parse_head
    from edge_probe.bundle.transport import read_transport
from edge_probe.measure import peak_rss_mib

MAX_INPUT_BYTES = 8192
ADDRESS_SPACE_BYTES = 2**31
"""Beyond it there is no memory."""

GOOD = GOLDEN_EPB.read_bytes()
MANIFEST = parse_manifest((GOLDEN / "manifest.json").read_bytes())

Reader = Callable[[bytes], object]


def carried(data: bytes) -> None:
    """A transport file as a staged device meets it: only the one its owner signed is good."""
    read_transport(
        io.BytesIO(data).read, lambda name: io.BytesIO(),
        where="fuzz", verify=verify.is_valid, trusted=TRUSTED,
    )  # fmt: skip
    if data != GOOD:
        raise AssertionError("accepted what nobody signed")


def carried_as_if_signed(data: bytes) -> None:
    """What lies behind the signature, as if its owner were the attacker."""
    read_transport(
        io.BytesIO(data).read, lambda name: io.BytesIO(),
        where="fuzz", verify=lambda *_: True, trusted=TRUSTED,
    )  # fmt: skip


READERS: dict[str, tuple[Reader, bytes]] = {
    "transport": (carried, GOOD),
    "transport, as if signed": (carried_as_if_signed, GOOD),
    "manifest, as if signed": (parse_manifest, (GOLDEN / "manifest.json").read_bytes()),
    "head, as if signed": (
        lambda data: parse_head(data, MANIFEST),
        (GOLDEN / "head.safetensors").read_bytes(),
    ),
    "calibration, as if signed": (
        lambda data: parse_calibration(data, MANIFEST.n_classes),
        (GOLDEN / "calibration.safetensors").read_bytes(),
    ),
    "conformance, as if signed": (
        lambda data: parse_conformance(data, MANIFEST),
        (GOLDEN / "conformance.safetensors").read_bytes(),
    ),
    "labels, as if signed": (
        lambda data: parse_labels(data, MANIFEST.n_classes),
        (GOLDEN / "labels.txt").read_bytes(),
    ),
    "graph, as if signed": (
        lambda data: check_graph(data, {}),
        (GOLDEN / "encoder.onnx").read_bytes(),
    ),
}
"""Each with a good input to begin from; the first byte of an input chooses the reader."""


class Campaign:
    """Counts inputs until there were enough, then writes the result and ends the process."""

    def __init__(self, runs: int, seconds: float, out: Path) -> None:
        self._runs, self._ends, self._out = runs, monotonic() + seconds, out
        self._began, self._baseline_mib = monotonic(), peak_rss_mib() or 0.0
        self._refused: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._slowest = 0.0
        self._readers = list(READERS.items())

    def one_input(self, data: bytes) -> None:
        """What atheris calls."""
        name, (reader, _) = self._readers[data[0] % len(self._readers) if data else 0]
        began = process_time()
        try:
            reader(data[1:])
            self._read[name] += 1
        except RejectedBundleError:
            self._refused[name] += 1
        self._slowest = max(self._slowest, process_time() - began)
        inputs = self._refused.total() + self._read.total()
        if inputs >= self._runs or monotonic() >= self._ends:
            self._finish(inputs)

    def _finish(self, inputs: int) -> None:
        result = {
            "inputs": inputs,
            "refused": dict(self._refused),
            "read": dict(self._read),  # by "transport" only the signed file itself
            "slowest_input_cpu_s": round(self._slowest, 4),
            "peak_over_baseline_mib": round((peak_rss_mib() or 0.0) - self._baseline_mib, 1),
            "wall_s": round(monotonic() - self._began, 1),
        }
        self._out.write_text(json.dumps(result), encoding="utf-8")
        sys.stderr.flush()
        os._exit(0)  # libFuzzer knows no other way to end a campaign from inside


def main() -> None:
    """Fuzz until ``--runs`` or ``--seconds`` are over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="a crashing input lies beside it")
    args = parser.parse_args()
    with TemporaryDirectory() as corpus:
        for index, (_, good) in enumerate(READERS.values()):
            (Path(corpus) / str(index)).write_bytes(bytes([index]) + good)
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
        campaign = Campaign(args.runs, args.seconds, args.out)
        # no limit of libFuzzer's: it counts what the parent had before exec; the result says ours
        options = [
            f"-max_len={MAX_INPUT_BYTES}", "-timeout=10", "-rss_limit_mb=0", f"-seed={args.seed}",
            f"-artifact_prefix={args.out}.", "-verbosity=0", corpus,
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options], campaign.one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
