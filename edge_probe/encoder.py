"""The frozen encoder: one chunk of waveform in, one token map out.

The only module that imports onnxruntime. Its errors are translated here, once.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_probe.errors import EncoderError, first_line
from edge_probe.spec import MAX_COMPONENT, EncoderSpec

Profile = Literal["low-memory", "fast"]


class Encoder:
    """An onnxruntime session that keeps the promises of an `EncoderSpec`.

    Parameters
    ----------
    graph_path : Path
        The ONNX graph; external data lies beside it.
    spec : EncoderSpec
        What the bundle promises about it.
    profile : "low-memory" or "fast"
        "low-memory" keeps weights where they were mapped from (no prepacked copies, no arena):
        a third to half of the memory for some 10-60 % more time. Both are deterministic, but
        their tokens may differ in the last bits.
    n_threads : int
        The recorder has one; more are for measuring only.

    Raises
    ------
    EncoderError
        The file is no graph onnxruntime can run, or its inputs and outputs are not as promised.
    """

    def __init__(
        self,
        graph_path: Path,
        spec: EncoderSpec,
        *,
        profile: Profile = "low-memory",
        n_threads: int = 1,
    ) -> None:
        self.spec = spec
        self.profile = profile
        self._name = graph_path.name
        options = session_options(profile)
        options.intra_op_num_threads = n_threads
        try:
            self._session = ort.InferenceSession(
                str(graph_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            raise EncoderError(
                f"{self._name}: onnxruntime cannot load this graph: {first_line(error)}",
                hint="export the encoder again; it must be ONNX with standard operators",
            ) from error
        self._check_signature()

    def tokens(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tokens of one chunk.

        Parameters
        ----------
        chunk : (C,) float32
            Model-rate samples, full scale ±1.

        Returns
        -------
        (S_t * S_f, D) float32
            C-contiguous, time-major.

        Raises
        ------
        EncoderError
            The graph failed, or its output has another rank or shape than promised, or is
            not finite.
        """
        (output,) = self._run(chunk, [self.spec.output_name])
        return self._token_rows(output)

    def _run(self, chunk: NDArray[np.float32], outputs: list[str]) -> list[NDArray[np.float32]]:
        feed = {self.spec.input_name: chunk[np.newaxis]}
        try:
            found: list[NDArray[np.float32]] = self._session.run(outputs, feed)
        except Exception as error:
            raise EncoderError(
                f"{self._name}: the graph failed on {len(chunk)} samples: {first_line(error)}",
                hint="chunk_samples of the bundle must be a length the graph accepts",
            ) from error
        return found

    def _token_rows(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        grid = self.spec.grid
        expected = (1, grid.n_dims, grid.n_time, grid.n_freq)
        if output.shape != expected:
            raise EncoderError(
                f"{self._name}: expected a token map of shape {expected} (1, D, S_t, S_f), "
                f"found {output.shape}",
                hint="encoder and head must come from the same export",
            )
        if not np.abs(output).max() <= MAX_COMPONENT:  # also where it is NaN
            raise EncoderError(
                f"{self._name}: the token map holds NaN or infinite values, or such above 1e38",
                hint="the graph is broken, or overflows on this audio; run edge-probe selftest",
            )
        rows = output[0].reshape(grid.n_dims, grid.n_tokens).T
        return np.ascontiguousarray(rows, np.float32)

    def _check_signature(self) -> None:
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        source = self._node("input", self.spec.input_name, inputs)
        target = self._node("output", self.spec.output_name, outputs)
        if len(inputs) != 1:
            raise EncoderError(
                f"{self._name}: expected one input, found {', '.join(sorted(inputs))}",
                hint="an encoder takes the waveform and nothing else",
            )
        grid = self.spec.grid
        self._check_shape("input", source.shape, (1, self.spec.chunk_samples))
        self._check_shape("output", target.shape, (1, grid.n_dims, grid.n_time, grid.n_freq))

    def _node(self, role: str, name: str, nodes: dict[str, Any]) -> Any:
        if name not in nodes:
            raise EncoderError(
                f"{self._name}: no {role} named {name!r}, found {', '.join(sorted(nodes))}",
                hint=f"name the {role} as in the graph",
            )
        if nodes[name].type != "tensor(float)":
            raise EncoderError(
                f"{self._name}: {role} {name!r} must be float32, found {nodes[name].type}",
                hint="export the encoder with float32 input and output",
            )
        return nodes[name]

    def _check_shape(self, role: str, found: list[Any], expected: tuple[int, ...]) -> None:
        """Compare the sizes a graph fixes with those promised; symbolic ones are free."""
        same_rank = len(found) == len(expected)
        if not same_rank or any(
            isinstance(size, int) and size != wanted
            for size, wanted in zip(found, expected, strict=True)
        ):
            raise EncoderError(
                f"{self._name}: expected an {role} of shape {list(expected)}, found {found}",
                hint="encoder and head must come from the same export",
            )


def session_options(profile: Profile) -> ort.SessionOptions:
    """One thread; what "low-memory" leaves out was measured to be what costs memory."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile == "low-memory":
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def profile_nodes(graph_path: Path, spec: EncoderSpec) -> list[dict[str, Any]]:
    """Run a silent chunk once and tell what each node of the optimised graph did.

    Returns
    -------
    list of dict
        In order: ``op_name``, ``input_type_shape``, ``output_type_shape``, and bytes as
        ``activation_size``, ``parameter_size``, ``output_size``.

    Raises
    ------
    EncoderError
        The graph cannot be run.
    """
    options = session_options("low-memory")
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        try:
            session = ort.InferenceSession(
                str(graph_path), options, providers=["CPUExecutionProvider"]
            )
            session.run(
                [spec.output_name], {spec.input_name: np.zeros((1, spec.chunk_samples), np.float32)}
            )
        except Exception as error:
            raise EncoderError(
                f"{graph_path.name}: the graph failed: {first_line(error)}",
                hint="run edge-probe selftest",
            ) from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
