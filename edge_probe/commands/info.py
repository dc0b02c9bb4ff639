"""``edge-probe info``: this machine, and what is in a bundle."""

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_probe.bundle import Bundle
    from edge_probe.bundle.inspect import ClassBits

log = logging.getLogger(__name__)

Facts = dict[str, Any]

PACKAGES = ("numpy", "onnxruntime", "soxr", "safetensors", "soundfile", "sounddevice")

TYPICAL = (1, 256, 512, 128)
"""Bits, D, M and T for which the kernel is shown when no bundle is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``info``."""
    parser.add_argument(
        "bundle", nargs="?", type=Path, metavar="BUNDLE", help="describe this bundle"
    )
    parser.add_argument(
        "--bits", action="store_true", help="look for unbalanced and repeated prototypes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what there is to know, as text or as JSON."""
    from edge_probe.errors import EdgeProbeError

    if args.bits and args.bundle is None:
        raise EdgeProbeError("--bits needs a bundle", hint="edge-probe info --bits BUNDLE")
    if args.bundle is None:
        facts: Facts = machine_facts()
        bits = None
    else:
        from edge_probe.bundle import open_bundle

        bundle = open_bundle(args.bundle)
        for warning in bundle.warnings:
            log.warning("%s", warning)
        facts = bundle_facts(bundle)
        bits = _bits(bundle) if args.bits else None
    if args.json:
        if bits is not None:
            facts["prototype_bits"] = [_bits_facts(entry) for entry in bits]
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    _print_facts(facts)
    for entry in bits or []:
        _print_bits(entry)
    return 0


def machine_facts() -> Facts:
    """Versions, processor and kernel of this machine."""
    import platform

    from edge_probe import __version__
    from edge_probe.head import backends, native

    bits, n_dims, n_prototypes, n_tokens = TYPICAL
    return {
        "edge-probe": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu(),
        "cpu features": native.why_not() or ", ".join(native.cpu_features()) or "none we use",
        "kernel": _kernel(
            [backend.name for backend in backends.available(1, n_dims)],
            backends.choose(1, n_dims, n_prototypes, n_tokens).name,
            f"{bits} bit, D = {n_dims}, M = {n_prototypes}",
        ),
    }


def bundle_facts(bundle: "Bundle") -> Facts:
    """What a bundle contains and costs."""
    from edge_probe.bundle.provenance import step_lines

    manifest, encoder, grid = bundle.manifest, bundle.encoder, bundle.encoder.grid
    chunk_s, windows = encoder.chunk_s, bundle.windows
    return {
        "bundle": bundle.id,
        "created": f"{manifest.created_utc} by {manifest.tool}",
        "release": manifest.release or "none: not signed for devices",
        "signed by": bundle.signed_by.description,
        "encoder": f"{bundle.provenance['name']}, licence {bundle.provenance['licence']}",
        "made by": step_lines(bundle.provenance),
        "hears": f"{encoder.sample_rate_hz} Hz, chunks of {encoder.chunk_samples} samples "
        f"({chunk_s:g} s)",
        "tokens": f"D = {grid.n_dims}, S_t x S_f = {grid.n_time} x {grid.n_freq}",
        "head": _head_line(bundle),
        "kernel": _bundle_kernel(bundle),
        "windows": f"{windows.window_chunks * chunk_s:g} s every {windows.hop_chunks * chunk_s:g} "
        f"s, pauses below {windows.refractory_s:g} s bridged",
        "classes": [label.text for label in bundle.labels],
        "score": "calibrated" if bundle.calibration is not None else "sigmoid of the logit",
        "training": dict(manifest.training),
        "size_bytes": size_table(bundle),
        "warnings": list(bundle.warnings),
    }


def size_table(bundle: "Bundle") -> dict[str, int]:
    """Bytes of storage by what they are for; ``total`` is the whole bundle with its manifest."""
    from edge_probe.bundle import files
    from edge_probe.head import PrototypeHead
    from edge_probe.head.linear import layer_bytes

    head = bundle.head
    listed = {name: record.size_bytes for name, record in bundle.manifest.files.items()}
    prototypes = head.prototypes.nbytes if isinstance(head, PrototypeHead) else 0
    weights = layer_bytes(head.linear)
    envelope = sum(
        (bundle.path / name).stat().st_size for name in (files.MANIFEST, files.SIGNATURE)
    )
    total = sum(listed.values()) + envelope
    encoder = sum(size for name, size in listed.items() if name not in files.NAMED)
    return {
        "prototypes": prototypes,
        "linear layer": weights,
        "encoder": encoder,
        "conformance vectors": listed[files.CONFORMANCE],
        "everything else": total - prototypes - weights - encoder - listed[files.CONFORMANCE],
        "total": total,
    }


def _head_line(bundle: "Bundle") -> str:
    spec, classes = bundle.manifest.head, f"{len(bundle.labels)} classes"
    if spec.kind == "mean-linear":
        return f"mean-linear on float tokens, {classes}"
    tokens = f"{spec.token_bits}-bit tokens" if isinstance(spec.token_bits, int) else "float tokens"
    if spec.n_thresholds > 1:
        tokens += f", {spec.n_thresholds} thresholds per dimension"
    floor = ", scores at least 0" if spec.floor_at_zero else ""
    return (
        f"{spec.kind}, M = {spec.n_prototypes} prototypes, {tokens}{floor}, {spec.linear} W, "
        f"{classes}"
    )


def _bundle_kernel(bundle: "Bundle") -> str:
    from edge_probe.head import MeanLinearHead, ProtobinHead, backends

    head = bundle.head
    if isinstance(head, MeanLinearHead):
        return "none needed"
    if not isinstance(head, ProtobinHead):
        return "numpy-gemm (prototypes are floats)"
    names = [backend.name for backend in backends.available(head.bits, head.n_dims)]
    return _kernel(names, head.backend.name, "for this head")


def _kernel(candidates: list[str], chosen: str, case: str) -> str:
    """The kernel and why it was chosen."""
    import os

    from edge_probe.head.native import FORCE_VARIABLE

    if os.environ.get(FORCE_VARIABLE):
        return f"{chosen} (forced by {FORCE_VARIABLE})"
    if len(candidates) == 1:
        return f"{chosen} (the only one that can, {case})"
    why = "by CPU features" if chosen.startswith("native-") else "the faster in a short timing"
    others = ", ".join(name for name in candidates if name != chosen)
    return f"{chosen} ({why}, {case}; also here: {others})"


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    import os
    import platform

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in pairs.items()}
    for key in ("Model", "model name", "Hardware"):
        if fields.get(key):
            name = fields[key]
            break
    return f"{name}, {os.cpu_count()} cores"


def _bits(bundle: "Bundle") -> "list[ClassBits]":
    from edge_probe.bundle.inspect import describe_prototypes
    from edge_probe.errors import EdgeProbeError
    from edge_probe.head import ProtobinHead

    if not isinstance(bundle.head, ProtobinHead):
        raise EdgeProbeError(
            f"{bundle.name}: a {bundle.head.kind} head has no binary prototypes",
            hint="leave out --bits",
        )
    return describe_prototypes(bundle.head, bundle.labels)


def _bits_facts(entry: "ClassBits") -> Facts:
    return {
        "label": entry.label,
        "prototypes": list(entry.prototypes),
        "ones": [round(share, 4) for share in entry.ones],
        "near_copies": [[copy.first, copy.second, copy.n_different] for copy in entry.near_copies],
        "compared": entry.compared,
    }


def _print_facts(facts: Facts) -> None:
    width = max(len(key) for key in facts) + 1
    for key, value in facts.items():
        if key == "size_bytes":
            print("size, KiB")
            for part, size in value.items():
                print(f"  {part:<22}{size / 1024:>12.1f}")
        elif key in ("warnings", "made by"):
            for line in value:
                print(f"{key.removesuffix('s'):<{width}} {line}")
        elif key == "classes":
            names = ", ".join(value[:20]) + (", ..." if len(value) > 20 else "")
            print(f"{key:<{width}} {len(value)}: {names}")
        elif isinstance(value, dict):
            print(f"{key:<{width}} {json.dumps(value, ensure_ascii=False)}")
        else:
            print(f"{key:<{width}} {value}")


def _print_bits(entry: "ClassBits") -> None:
    n = len(entry.prototypes)
    if n == 0:
        print(f"{entry.label}: no prototype speaks most for it")
        return
    low, high, mean = min(entry.ones), max(entry.ones), sum(entry.ones) / n
    print(
        f"{entry.label}: {n} prototypes, ones {low:.2f} to {high:.2f} (mean {mean:.2f}), "
        + (f"{len(entry.near_copies)} near copies" if entry.compared else "too many to compare")
    )
    for copy in entry.near_copies[:5]:
        kind = "equals" if copy.n_different == 0 else f"differs in {copy.n_different} bits from"
        print(f"  prototype {copy.second} {kind} prototype {copy.first}")
    if len(entry.near_copies) > 5:
        print(f"  ... and {len(entry.near_copies) - 5} more")
