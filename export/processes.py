"""What a command and the processes it starts ask of the system: memory, files, Ctrl-C."""

import ctypes
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OPEN_FILES = 8192
"""As many as macOS allows; the limit of a shell is 256 there and 1024 on Linux."""


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def allow_open_files() -> None:
    """Raise this process's own limit of open files: every mapped shard of a cache is one."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_freed_memory() -> None:
    """Let this process keep the memory of tensors that are gone, where its C library is glibc's.

    Otherwise every step of a training returns them to the kernel and has them cleared again, page
    by page: 2.2 times the CPU time (128 clips of 250 tokens of 384 components a step).
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)  # as an unsigned number: never


@contextmanager
def uninterrupted() -> Iterator[None]:
    """No Ctrl-C here, nor in processes that start here until they arrange it themselves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interruptible_between() -> Iterator[Callable[[], None]]:
    """Ctrl-C is noted here, and raised by the function that is given, when that is called.

    For loops around `concurrent.futures.wait`: a KeyboardInterrupt inside of it can leave a lock of
    a future held, and the shutdown of the pool then waits for it for ever.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # by nohup, or a shell's "&"
    if ignored or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came = False

    def note(_number: int, _frame: object) -> None:
        nonlocal came
        came = True

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_for_good() -> Iterator[None]:
    """Ctrl-C ends what is done here, also where code of others takes it for a failure of its own.

    torch's exporter does: it goes on with its next way, and reports how that failed.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def note(_number: int, _frame: object) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if came:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
