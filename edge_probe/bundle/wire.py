"""Protocol-buffer messages, read just far enough to see what a graph is made of."""

from collections.abc import Iterator
from typing import NoReturn

from edge_probe.bundle.reject import Rejection, reject

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Schema = dict[int, str]
"""Field number -> how it may appear: ``v`` varint, ``b`` bytes or message, ``f`` fixed32,
``d`` fixed64; ``*`` after it if it may be repeated (numbers then also packed into bytes);
a capital letter if its values are kept."""

Message = dict[int, list[memoryview]]
"""Field number -> values of the kept fields; a varint as its 8 little-endian bytes."""

_WIRE_TYPES = {"v": VARINT, "b": BYTES, "f": FIXED32, "d": FIXED64}


def read_message(data: memoryview, schema: Schema, what: str) -> Message:
    """The kept fields of a message.

    Parameters
    ----------
    data : memoryview
        The message, without its length.
    schema : Schema
        Every field that may appear.
    what : str
        Name of the message, for errors.

    Raises
    ------
    RejectedBundleError
        Not a message; a field that the schema does not know; a single field that stands twice
        (readers disagree about which one counts).
    """
    kept: Message = {}
    seen: set[int] = set()
    for number, wire_type, value in _fields(data, what):
        kind = schema.get(number)
        if kind is None:
            _malformed(what, f"unknown field {number}")
        letter, repeated = kind[0], kind.endswith("*")
        packed = repeated and letter.lower() != "b" and wire_type == BYTES
        if wire_type != _WIRE_TYPES[letter.lower()] and not packed:
            _malformed(what, f"field {number} has wire type {wire_type}")
        if number in seen and not repeated:
            _malformed(what, f"field {number} stands twice")
        seen.add(number)
        if letter.isupper():
            kept.setdefault(number, []).append(value)
    return kept


def text_of(message: Message, number: int, what: str) -> str:
    """A text field; empty if it is absent."""
    values = message.get(number)
    if not values:
        return ""
    try:
        return bytes(values[0]).decode("utf-8")
    except UnicodeDecodeError:
        _malformed(what, f"field {number} is not UTF-8")


def integer_of(message: Message, number: int) -> int:
    """An unsigned varint field; 0 if it is absent."""
    values = message.get(number)
    return int.from_bytes(values[0], "little") if values else 0


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, int, memoryview]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position, what)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            _malformed(what, "field number 0")
        if wire_type == VARINT:
            integer, position = _varint(data, position, what)
            yield number, wire_type, memoryview(integer.to_bytes(8, "little"))
            continue
        if wire_type == BYTES:
            size, position = _varint(data, position, what)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            _malformed(what, f"wire type {wire_type}")
        if size > len(data) - position:
            _malformed(what, f"field {number} reaches past the end")
        yield number, wire_type, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int, what: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position == len(data):
            _malformed(what, "ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, position
    _malformed(what, "holds a number of more than 64 bits")


def _malformed(what: str, problem: str) -> NoReturn:
    reject(
        Rejection.GRAPH_PROTOBUF,
        f"encoder graph: {what}: {problem}",
        hint="expected an ONNX model as written by torch.onnx, tf2onnx or onnxruntime",
    )
