"""The linear layer of a custom classifier that BirdNET-Analyzer saved as TFLite.

Such a file is the whole of BirdNET with its last layer replaced, or the classifier alone. Only the
way from the last layer back to the embedding is read; the rest of the file is not run.
"""

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tflite  # type: ignore[import-untyped]
from numpy.typing import NDArray

from export.foreign import CheckpointError
from export.foreign.dense import DenseLayer

_IDENTIFIER = b"TFL3"
_NO_TENSOR = -1

_OPERATORS: dict[int, str] = {
    value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)
}
_FLOATS = {tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16}

_TRAIN_PLAIN = (
    "train it again with BirdNET-Analyzer, hidden units 0 and save mode replace, or teach a head "
    "here with edge-export fit"
)


def read_classifier(path: Path) -> DenseLayer:
    """The dense layer on BirdNET's embedding, which is the mean of its last token map.

    Parameters
    ----------
    path : Path
        A ``.tflite`` file.

    Raises
    ------
    CheckpointError
        It is no TFLite file, or its classifier is more than one dense layer of floats.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror or error}", hint="name a TFLite file"
        ) from error
    if data[4:8] != _IDENTIFIER:
        raise CheckpointError(f"{path}: not a TFLite file", hint="name the .tflite file itself")
    try:
        graph = _Graph(path, data)
        operator = graph.last_layer()
        weights = graph.constant(operator.Inputs(1))
        bias = _bias(graph, operator, len(weights))
        graph.check_embedding(operator.Inputs(0))
    except CheckpointError:
        raise
    except Exception as error:  # the generated reader raises what struct and NumPy raise
        raise CheckpointError(
            f"{path}: is damaged ({type(error).__name__})", hint="copy or save it again"
        ) from error
    if weights.ndim != 2 or bias.shape != weights.shape[:1]:
        raise CheckpointError(
            f"{path}: expected weights (C, D) and bias (C,), "
            f"found {weights.shape} and {bias.shape}",
            hint=_TRAIN_PLAIN,
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise CheckpointError(
            f"{path}: holds NaN or infinite weights", hint="the training diverged; train again"
        )
    return DenseLayer(weights, bias)


def _bias(graph: "_Graph", operator: Any, n_classes: int) -> NDArray[np.float32]:
    if operator.InputsLength() < 3 or operator.Inputs(2) == _NO_TENSOR:
        return np.zeros(n_classes, np.float32)
    return graph.constant(operator.Inputs(2))


class _Graph:
    """The operators of a TFLite model, found by the tensor that they make."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._model = tflite.Model.GetRootAsModel(data, 0)
        self._graph = self._model.Subgraphs(0)
        self._makers: dict[int, Any] = {}
        for number in range(self._graph.OperatorsLength()):
            operator = self._graph.Operators(number)
            for output in operator.OutputsAsNumpy():
                self._makers[int(output)] = operator

    def last_layer(self) -> Any:
        """The dense layer that makes the output, or the logits before a final sigmoid."""
        if self._graph.OutputsLength() != 1:
            self._refuse(f"has {self._graph.OutputsLength()} outputs, not one")
        operator = self._maker(self._graph.Outputs(0))
        if self._name(operator) == "LOGISTIC":
            operator = self._maker(operator.Inputs(0))
        name = self._name(operator)
        if name == "CONCATENATION":
            self._refuse("appends its classes to those of BirdNET")
        if name != "FULLY_CONNECTED":
            self._refuse(f"ends in {name}, not in a dense layer")
        if self._has_activation(operator):
            self._refuse("ends in a dense layer with an activation")
        return operator

    def check_embedding(self, tensor: int) -> None:
        """Refuse a layer that reads something else than the embedding."""
        operator = self._maker(tensor)
        for _ in range(len(self._makers)):
            if self._name(operator) != "RESHAPE":
                break
            operator = self._maker(operator.Inputs(0))
        name = self._name(operator)
        if name == "FULLY_CONNECTED":
            self._refuse("has a hidden layer between the embedding and its classes")
        if name not in {"INPUT", "MEAN"}:
            self._refuse(f"reads the result of {name}, not the mean of a token map")

    def constant(self, tensor: int) -> NDArray[np.float32]:
        """Values stored in the file, as float32."""
        operator = self._maker(tensor)
        if self._name(operator) == "DEQUANTIZE":  # float16 is stored like this
            tensor = operator.Inputs(0)
        facts = self._graph.Tensors(tensor)
        buffer = self._model.Buffers(facts.Buffer())
        if facts.Type() not in _FLOATS:
            self._refuse("stores its weights as integers")
        if buffer.DataLength() == 0:
            self._refuse("stores no weights for its last layer")
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _FLOATS[facts.Type()])
        return values.reshape(facts.ShapeAsNumpy()).astype(np.float32)

    def _maker(self, tensor: int) -> Any:
        """The operator that makes a tensor; None for what is given."""
        return self._makers.get(tensor)

    def _name(self, operator: Any) -> str:
        if operator is None:
            return "INPUT"
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files know only one
        return _OPERATORS.get(number, f"operator {number}")

    @staticmethod
    def _has_activation(operator: Any) -> bool:
        table = operator.BuiltinOptions()
        if table is None:
            return False
        options = tflite.FullyConnectedOptions()
        options.Init(table.Bytes, table.Pos)
        return bool(options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE)

    def _refuse(self, reason: str) -> NoReturn:
        raise CheckpointError(
            f"{self._path}: this classifier {reason}; a bundle holds one dense layer of floats",
            hint=_TRAIN_PLAIN,
        )
