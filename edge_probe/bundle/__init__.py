"""The bundle: everything a device must know about a model, signed. Rules: ``FORMAT.md``.

Names are resolved on first use, so that importing one module of this package loads no other:
``info`` without a bundle needs no safetensors, and a recorder never loads the writer.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_probe.bundle.conformance import Stage, selftest
    from edge_probe.bundle.labels import Label
    from edge_probe.bundle.manifest import Manifest
    from edge_probe.bundle.reader import Bundle, open_bundle
    from edge_probe.bundle.reject import RejectedBundleError, Rejection
    from edge_probe.bundle.writer import write_bundle

__all__ = [
    "Bundle",
    "Label",
    "Manifest",
    "RejectedBundleError",
    "Rejection",
    "Stage",
    "open_bundle",
    "selftest",
    "write_bundle",
]

_HOME = {
    "Bundle": "reader",
    "Label": "labels",
    "Manifest": "manifest",
    "RejectedBundleError": "reject",
    "Rejection": "reject",
    "Stage": "conformance",
    "open_bundle": "reader",
    "selftest": "conformance",
    "write_bundle": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
