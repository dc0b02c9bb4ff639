"""Any bytes, validly signed, open as a bundle or are refused: nothing else escapes."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import onnx_bytes as ob
from support.hostile.ways import content
from support.tiny_bundle import GOLDEN, sign_bytes

from edge_probe.bundle import open_bundle, verify
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.manifest import canonical
from edge_probe.bundle.reject import RejectedBundleError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "tiny"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
fuzz = settings(max_examples=300, deadline=None)


def opens_or_is_refused(directory: Path) -> None:
    with contextlib.suppress(RejectedBundleError):
        open_bundle(directory, verify=verify.is_valid)


@few
@given(data=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_signed_manifest_opens_or_is_refused(data: bytes, directory: Path) -> None:
    sign_bytes(directory, data)
    opens_or_is_refused(directory)


@few
@given(data=st.data())
def test_any_value_in_a_signed_manifest_opens_or_is_refused(
    data: st.DataObject, directory: Path
) -> None:
    """Replace one value anywhere in the manifest by any other."""
    found = json.loads((GOLDEN / "manifest.json").read_bytes())
    node: Any = found
    key = data.draw(st.sampled_from(sorted(node)))
    while isinstance(node[key], dict) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node)))
    node[key] = data.draw(json_values)
    try:
        signed = canonical(found)
    except ValueError:
        return  # NaN and lone surrogates cannot be written; other tests write them by hand
    sign_bytes(directory, signed)
    opens_or_is_refused(directory)


@few
@given(
    data=st.binary(max_size=100),
    position=st.integers(0, 400),
    name=st.sampled_from(["head", "calibration", "conformance"]),
)
def test_any_tensor_file_opens_or_is_refused(
    data: bytes, position: int, name: str, directory: Path
) -> None:
    """Overwrite or insert bytes in a good file."""
    good = (GOLDEN / f"{name}.safetensors").read_bytes()
    for spoilt in (
        data,
        good[:position] + data + good[position:],
        good[:position] + data + good[position + len(data) :],
    ):
        content(f"{name}.safetensors", spoilt or b"x")(directory)
        opens_or_is_refused(directory)


@fuzz
@given(data=st.binary(max_size=60), position=st.integers(0, 170))
def test_any_graph_passes_or_is_refused(data: bytes, position: int) -> None:
    good = ob.tiny_encoder()
    for spoilt in (data, good[:position] + data + good[position + len(data) :]):
        with contextlib.suppress(RejectedBundleError):
            check_graph(spoilt, {})
