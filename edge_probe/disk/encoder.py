"""The recorder's side of the process that encodes FLAC (`encode.py`)."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from edge_probe.errors import AudioError

_POLL_S = 0.1


class Abandoned(Exception):  # noqa: N818 - not an error: something more important came
    """A job was given up halfway, and its process ended."""


class Encoder:
    """Starts the process when there is something to do; for use in one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def encode(
        self,
        source: Path,
        target: Path,
        silences: Sequence[tuple[int, int]],
        must_stop: Callable[[], bool],
    ) -> int:
        """As `edge_probe.source.flac.encode`, at idle priority.

        Parameters
        ----------
        source, target, silences
            As there.
        must_stop : callable
            Asked several times a second.

        Returns
        -------
        int
            Bytes of the file.

        Raises
        ------
        Abandoned
            ``must_stop`` said so.
        AudioError
            It cannot be done, or the process died of it.
        """
        process = self._process or self._start()
        job = {"source": str(source), "target": str(target), "silences": list(silences)}
        with suppress(BrokenPipeError):  # it died; the missing answer says so
            _pipe(process.stdin).write(json.dumps(job).encode() + b"\n")
        answer = json.loads(self._answer(process, must_stop))
        if "error" in answer:
            raise AudioError(answer["error"], hint="the file stays as it is")
        return int(answer["n_bytes"])

    def stop(self) -> None:
        """End the process; what it was doing is lost."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes and waits
                self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "edge_probe.disk.encode", str(os.getpid())]
        self._process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], must_stop: Callable[[], bool]) -> bytes:
        stdout = _pipe(process.stdout)
        while not select.select([stdout], [], [], _POLL_S)[0]:
            if must_stop():
                self.stop()
                raise Abandoned
        line = stdout.readline()
        if not line:
            self.stop()
            raise AudioError("the process that encodes FLAC died", hint="was it out of memory?")
        return line


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("a process was started without its pipes")
    return pipe
