"""A log that nobody takes must not hold up whoever writes it."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRITER = """
import logging
from edge_probe.log import never_wait
logging.basicConfig(format="%(levelname)s: %(message)s")
never_wait()
log = logging.getLogger()
for n in range(3):
    log.warning("message %d, %s", n, "x" * 5000 * (n == 1))
print("done", flush=True)
input()
log.warning("last")
"""


@contextmanager
def _start(stderr: int) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=stderr, text=True,
    ) as writer:  # fmt: skip
        try:
            yield writer
        finally:
            writer.kill()


def test_a_pipe_that_nobody_reads_costs_messages_and_no_time() -> None:
    reader, pipe = os.pipe()
    os.set_blocking(pipe, False)
    n_bytes = 0
    try:
        while True:
            n_bytes += os.write(pipe, bytes(4096))
    except BlockingIOError:
        os.set_blocking(pipe, True)  # of the file, and so of whoever inherits it
    with _start(pipe) as writer:
        assert writer.stdout is not None
        assert select.select([writer.stdout], [], [], 60)[0], "it waits for whoever reads the pipe"
        assert writer.stdout.readline() == "done\n"
        os.close(pipe)
        while n_bytes:
            n_bytes -= len(os.read(reader, n_bytes))
        writer.communicate("\n", timeout=60)
    with os.fdopen(reader) as file:
        assert file.read() == "WARNING: nobody took 3 messages before this one\nWARNING: last\n"


def test_a_pipe_that_is_read_gets_every_message() -> None:
    with _start(subprocess.PIPE) as writer:
        _, told = writer.communicate("\n", timeout=60)
    first, cut, *rest = told.splitlines()
    assert first == "WARNING: message 0, "
    assert cut.startswith("WARNING: message 1, xxx")
    assert len(cut) == 1000
    assert rest == ["WARNING: message 2, ", "WARNING: last"]


def test_a_reader_that_is_gone_stops_nobody() -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    with _start(pipe) as writer:
        os.close(pipe)
        out, _ = writer.communicate("\n", timeout=60)
    assert out == "done\n"
    assert writer.returncode == 0
