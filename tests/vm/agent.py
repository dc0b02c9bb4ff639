"""Commands for the virtual machine, and what they answered; the other end is `guest/agent.py`."""

import json
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess


class AgentError(Exception):
    """The machine does not answer, or a command failed there."""


@dataclass
class Agent:
    """Runs commands in the machine, one at a time, as root.

    Parameters
    ----------
    path : Path
        Socket of the machine's port.
    log : Path
        Gets a line for every command, when it begins and when it ends.
    """

    path: Path
    log: Path
    _socket: socket.socket = field(init=False)

    def connect(self, timeout_s: float) -> None:
        """Wait until the machine has come so far that it answers."""
        deadline = time.monotonic() + timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._socket.connect(str(self.path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise AgentError(f"{self.path}: no machine after {timeout_s:.0f} s") from None
                time.sleep(0.1)
        self.run(["true"], timeout_s=max(1.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Nothing more will be asked."""
        self._socket.close()

    def run(
        self,
        command: Sequence[str] | str,
        *,
        data: bytes = b"",
        timeout_s: float = 60.0,
        check: bool = True,
    ) -> CompletedProcess[bytes]:
        """Run a command there.

        Parameters
        ----------
        command : sequence of str, or str
            A string is given to a shell.
        data : bytes
            Its standard input.
        timeout_s : float
            After which it is killed there, by the machine's clock.
        check : bool
            A failure is an error.

        Raises
        ------
        AgentError
            It failed, took too long, or the machine is gone.
        """
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        self._note(f"{words} ...")
        request = {"command": words, "timeout_s": timeout_s, "input_bytes": len(data)}
        parts = {b"o": bytearray(), b"e": bytearray()}
        try:
            # the machine kills it in time, by its own clock; one that is stuck does not
            self._socket.settimeout(10 * timeout_s + 60)
            self._socket.sendall(json.dumps(request).encode() + b"\n" + data)
            while True:
                kind, block = self._frame()
                if kind == b"x":
                    break
                parts[kind] += block
        except OSError as error:
            raise AgentError(f"{words}: the machine does not answer: {error}") from error
        output, errors = bytes(parts[b"o"]), bytes(parts[b"e"])
        self._note(f"{block.decode()}: {_tail(output, errors)[-200:]!r}")
        if block == b"timeout":
            raise AgentError(f"{words}: not done after {timeout_s:.0f} s\n{_tail(output, errors)}")
        done = CompletedProcess(words, int(block), output, errors)
        if check and done.returncode:
            raise AgentError(f"{words}: status {done.returncode}\n{_tail(output, errors)}")
        return done

    def text(self, command: Sequence[str] | str, *, timeout_s: float = 60.0) -> str:
        """What a command prints there."""
        return self.run(command, timeout_s=timeout_s).stdout.decode()

    def put(self, source: Path | bytes, target: str) -> None:
        """Write a file there; its folder exists."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        self.run(["sh", "-c", 'cat > "$0" && sync "$0"', target], data=data, timeout_s=600)

    def _note(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def _frame(self) -> tuple[bytes, bytes]:
        kind, n_bytes = struct.unpack(">cI", self._exactly(5))
        return kind, self._exactly(n_bytes)

    def _exactly(self, n_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < n_bytes:
            block = self._socket.recv(n_bytes - len(data))
            if not block:
                raise ConnectionResetError("the port is closed")
            data += block
        return bytes(data)


def _tail(output: bytes, errors: bytes) -> str:
    return (output + errors).decode(errors="replace")[-4000:]
