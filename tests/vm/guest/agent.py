"""Runs inside the virtual machine: commands come over a virtio port, what they print goes back.

The other end is `vm.agent`. A request is a line of JSON (``command``, ``timeout_s``,
``input_bytes``) and so many bytes for the command's standard input. An answer is a series of
frames: a letter (``o`` output, ``e`` errors, ``x`` the end: exit status as text, or ``timeout``),
a length of four bytes, big-endian, and so many bytes.
"""

import json
import os
import selectors
import signal
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

PORT = Path("/dev/virtio-ports/edge-probe.agent")
BLOCK_BYTES = 1 << 16


def main() -> None:
    """Serve one request after the other."""
    while not PORT.exists():
        time.sleep(0.2)
    with PORT.open("r+b", buffering=0) as port:
        while True:
            request = json.loads(_line(port))
            with tempfile.TemporaryFile() as data:
                _copy(port, data, request["input_bytes"])
                data.seek(0)
                _serve(port, request["command"], request["timeout_s"], data)


def _line(port: BinaryIO) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += _read(port, 1)
    return line


def _read(port: BinaryIO, limit: int) -> bytes:
    """What is there; while nobody is connected, reading gives nothing."""
    while not (data := port.read(limit)):
        time.sleep(0.1)
    return data


def _copy(port: BinaryIO, file: BinaryIO, n_bytes: int) -> None:
    while n_bytes:
        block = _read(port, min(n_bytes, BLOCK_BYTES))
        file.write(block)
        n_bytes -= len(block)


def _serve(port: BinaryIO, command: list[str], timeout_s: float, data: BinaryIO) -> None:
    deadline = time.monotonic() + timeout_s
    with (
        subprocess.Popen(
            command,
            stdin=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
        selectors.DefaultSelector() as outputs,
    ):
        assert process.stdout
        assert process.stderr
        outputs.register(process.stdout, selectors.EVENT_READ, b"o")
        outputs.register(process.stderr, selectors.EVENT_READ, b"e")
        while outputs.get_map() and time.monotonic() < deadline:
            for key, _ in outputs.select(0.5):
                block = os.read(key.fd, BLOCK_BYTES)
                if block:
                    _frame(port, key.data, block)
                else:
                    outputs.unregister(key.fileobj)
        try:
            end = str(process.wait(max(0.1, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            end = "timeout"
    _frame(port, b"x", end.encode())


def _frame(port: BinaryIO, kind: bytes, data: bytes) -> None:
    rest = memoryview(kind + struct.pack(">I", len(data)) + data)
    while rest:
        rest = rest[port.write(rest) :]


main()
