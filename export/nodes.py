"""An ONNX graph in the making."""

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array


class Nodes:
    """Nodes and constants of a graph in the making; every name begins with the prefix."""

    def __init__(self, prefix: str = "head/") -> None:
        self._prefix = prefix
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        name = f"{self._prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, value: Any) -> str:
        """Store an array and return its name."""
        name = f"{self._prefix}constant_{len(self.constants)}"
        self.constants.append(from_array(np.asarray(value), name))
        return name

    def call(self, value: str, name: str) -> None:
        """Give a value the name of an input or output."""
        self.nodes.append(helper.make_node("Identity", [value], [name], f"{self._prefix}{name}"))
