"""Encoder graphs that must be refused."""

from support import onnx_bytes as ob
from support.hostile.ways import Cases, content, external, graph, inside_scan, operator

from edge_probe.bundle import Rejection

R = Rejection

CASES: Cases = {
    R.GRAPH_PROTOBUF: {
        "text": content("encoder.onnx", b"<html>"),
        "no graph": content("encoder.onnx", ob.number(1, 8)),
        "cut": content("encoder.onnx", ob.tiny_encoder()[:-1]),
        "unknown field": content("encoder.onnx", ob.tiny_encoder() + ob.number(99, 1)),
        "two graphs": content("encoder.onnx", ob.tiny_encoder() + ob.blob(7, b"")),
        "two operators in a node": graph(
            ob.tiny_encoder([ob.node("Add", ["x"], "z") + ob.blob(4, "Loop")])
        ),
        "operator is no UTF-8": graph(ob.tiny_encoder([ob.blob(4, b"\xff")])),
        "endless number": content("encoder.onnx", b"\x08" + b"\xff" * 10 + b"\x01"),
        "67-bit number": content("encoder.onnx", b"\x08" + b"\xff" * 9 + b"\x7f"),
        "field 0": content("encoder.onnx", b"\x00\x01"),
        "group": content("encoder.onnx", b"\x0b\x0c"),
        "wrong wire type": content("encoder.onnx", ob.blob(1, b"8")),
        "nested too deep": graph(inside_scan(ob.node("Abs", ["x"], "z"), 9)),
    },
    R.GRAPH_FUNCTION: {
        "local function": graph(ob.tiny_encoder() + ob.blob(25, ob.blob(1, "f"))),
        "training code": graph(ob.tiny_encoder() + ob.blob(20, b"")),
    },
    R.GRAPH_DOMAIN: {
        "custom": operator("Relu", "my.domain"),
        "layout of one CPU": operator("Conv", "com.microsoft.nchwc"),
        "ai.onnx.ml": operator("SVMClassifier", "ai.onnx.ml"),
        "inside a Scan": graph(inside_scan(ob.node("Relu", ["x"], "z", "my.domain"))),
    },
    R.GRAPH_OPERATOR: {
        **{name: operator(name) for name in ("Loop", "If", "RandomNormal", "Dropout", "PyOp", "")},
        "microsoft only": operator("FusedConv"),
        "standard only": operator("Relu", "com.microsoft"),
        "inside a Scan": graph(inside_scan(ob.node("Loop", ["x"], "z"), 3)),
    },
    R.GRAPH_CPU_DEPENDENT: {
        "MatMulNBits": operator("MatMulNBits", "com.microsoft"),
        "inside a Scan": graph(inside_scan(ob.node("MatMulNBits", ["x"], "z", "com.microsoft"))),
    },
    R.GRAPH_EXTERNAL_DATA: {
        "folder above": external(location="../x"),
        "absolute": external(location="/etc/passwd"),
        "memory": external(location="*/_ORT_MEM_ADDR_/*"),
        "no location": external(offset="0"),
        "not listed": external(location="other.bin"),
        "another role": external(location="head.safetensors"),
        "the graph itself": external(location="encoder.onnx"),
        "past the end": external(location="weights.bin", offset="1", length="4"),
        "negative offset": external(location="weights.bin", offset="-1"),
        "other digits": external(location="weights.bin", offset="١"),
        "two locations": graph(
            ob.tiny_encoder(
                [],
                [
                    ob.external_tensor("e", (1,), location="weights.bin")
                    + ob.blob(13, ob.blob(1, "location") + ob.blob(2, "../x"))
                ],
            ),
            weights_bin=b"1234",
        ),
        "entries without the flag": graph(
            ob.tiny_encoder([], [ob.external_tensor("e", (1,), location="../x")[:-2]])
        ),
        "unknown place": graph(ob.tiny_encoder([], [ob.number(14, 2)])),
        "in a Constant": graph(
            ob.tiny_encoder(
                [
                    ob.node(
                        "Constant",
                        [],
                        "z",
                        attributes=ob.blob(
                            5,
                            ob.blob(1, "value")
                            + ob.blob(5, ob.external_tensor("e", (1,), location="../x")),
                        ),
                    )
                ]
            )
        ),
    },
}
