"""ONNX models as files: read, extended, run and written."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge_probe.errors import EncoderError, first_line
from export.onnx_files import MAX_INLINE_BYTES, data_beside, refuse_name, refuse_too_large

FloatArray = NDArray[np.float32]


def load_model(path: Path) -> onnx.ModelProto:
    """Read a model with its external data.

    Raises
    ------
    EncoderError
        There is no ONNX model, or it is larger than one in memory can be.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: no such encoder graph", hint="name an ONNX file")
    try:
        refuse_too_large(path)
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except EncoderError:
        raise
    except Exception as error:  # protobuf, onnx and the system each have their own
        raise EncoderError(
            f"{path}: no ONNX model: {first_line(error)}",
            hint="name an ONNX file; files with its weights belong beside it",
        ) from error
    return model


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; weights above `MAX_INLINE_BYTES` stand in ``NAME.onnx.data`` beside it.

    An interrupted run leaves no half graph behind.

    Raises
    ------
    EncoderError
        No bundle may hold a file of that name.
    """
    fresh, data = path.with_name(f".{path.name}.part"), data_beside(path)
    if large := model.ByteSize() > MAX_INLINE_BYTES:
        refuse_name(data)
    try:
        onnx.save(model, fresh, save_as_external_data=large, location=data.name)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def whole_or_nothing(graph: Path) -> Generator[None]:
    """Whatever ends the making of an encoder early, Ctrl-C too, takes its files away.

    And its folder, with those above it, where they were made for it.
    """
    made = [folder for folder in graph.parents if not folder.exists()]
    try:
        graph.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in files_of(graph):
            path.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # not even made, or others have put something into it
                folder.rmdir()
        raise


def files_of(graph: Path) -> tuple[Path, ...]:
    """A graph, its card, and the files in which forms of it may keep weights."""
    return graph, graph.with_suffix(".toml"), graph.with_suffix(".data"), data_beside(graph)


def waveform_input(model: onnx.ModelProto, n_samples: int | None) -> tuple[str, tuple[int, ...]]:
    """Name and shape of the one input of a model, which takes one waveform and nothing else.

    Parameters
    ----------
    model : ModelProto
    n_samples : int or None
        Length of the waveform where the graph leaves it open.

    Raises
    ------
    EncoderError
        There is no such input, or its length is not known or another one.
    """
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        found = ", ".join(f"{value.name} ({_type_of(value)})" for value in inputs) or "none"
        raise EncoderError(
            f"expected one float32 input, found {found}",
            hint="an encoder takes the waveform and nothing else",
        )
    name = inputs[0].name
    sizes = [size.dim_value or 0 for size in inputs[0].type.tensor_type.shape.dim]  # 0: left open
    if not 1 <= len(sizes) <= 3 or any(size > 1 for size in sizes[:-1]):
        raise EncoderError(
            f"the input {name} of shape {sizes} (0: open) takes no waveform (1, N)",
            hint="join the graph with its front end first, from the waveform on",
        )
    fixed = sizes[-1] or n_samples
    if fixed is None:
        raise EncoderError(
            f"the input {name} takes a waveform of any length", hint="say --chunk-samples N"
        )
    if n_samples not in (None, fixed):
        raise EncoderError(
            f"the input {name} takes {fixed} samples, not {n_samples}",
            hint=f"say --chunk-samples {fixed}, or leave it out",
        )
    return name, (1,) * (len(sizes) - 1) + (fixed,)


def _type_of(value: onnx.ValueInfoProto) -> str:
    return str(onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()


def session_of(model: onnx.ModelProto | Path) -> ort.InferenceSession:
    """A session of two threads at most, quiet; raises `EncoderError`."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is told once: by the error
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise EncoderError(
            f"onnxruntime cannot load this graph: {first_line(error)}",
            hint="it must be ONNX with operators that onnxruntime has on a CPU",
        ) from error


def run(
    session: ort.InferenceSession, outputs: Sequence[str], feed: Mapping[str, FloatArray]
) -> list[FloatArray]:
    """Outputs of one run; raises `EncoderError`."""
    try:
        found: list[FloatArray] = session.run(list(outputs), dict(feed))
    except Exception as error:
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feed.items())
        raise EncoderError(
            f"the graph failed on {shapes}: {first_line(error)}",
            hint="give a number of samples that the graph accepts",
        ) from error
    return found
