"""Whether what the recorder is made of can be loaded here, each part by a process of its own.

A wheel for another processor ends its process by an illegal instruction: here that is a sentence.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from firmware_tools.doctor.finding import Finding
from firmware_tools.doctor.host import Host, UnreadableError
from firmware_tools.doctor.memory import look_memory

TIMEOUT_S = 60.0
"""A Zero 2 W may need ten seconds for onnxruntime from a cold card."""

_QUIET = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.nice(19)"
"""No core file, and never before the recorder."""

ENVIRONMENT = {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Part:
    """Something that must load."""

    name: str
    code: str
    """Prints what there is to say of it."""
    needs_mib: int
    """Memory that should be free before it is tried: nobody is to be driven out for it."""
    without: str
    """What does not work then."""
    hint: str = "install edge-probe's package again, for this system and this processor"


NUMPY = Part(
    "numpy", "import numpy as n; a = n.ones((64, 64), 'f4'); a @ a; print(n.__version__)", 40,
    "nothing works",
)  # fmt: skip

PARTS = (
    NUMPY,
    Part("onnxruntime", "import onnxruntime as o; print(o.__version__)", 80,
         "nothing is classified"),
    Part("soxr", "import soxr; print(soxr.__version__)", 40, "nothing is classified"),
    Part("soundfile", "import soundfile as s; print(s.__version__, s.__libsndfile_version__)", 40,
         "segments stay WAV"),
    Part("cryptography", "import cryptography as c\n"
         "from cryptography.hazmat.primitives.asymmetric import ed25519\nprint(c.__version__)", 40,
         "no bundle is accepted"),
    # Not sounddevice: PortAudio opens every device when it starts, also one that is to be opened.
    Part("portaudio", "import ctypes, _cffi_backend\nfrom importlib.util import find_spec\n"
         "if not find_spec('sounddevice'): raise ImportError('No module named sounddevice')\n"
         "p = ctypes.CDLL('libportaudio.so.2'); p.Pa_GetVersionText.restype = ctypes.c_char_p\n"
         "print(p.Pa_GetVersionText().decode())", 20, "nothing is recorded",
         "sudo apt install libportaudio2"),
)  # fmt: skip

KERNELS = Part(
    "kernels", "from edge_probe.head import native\n"
    "print(native.why_not() or 'ready: ' + ', '.join(native.cpu_features()))", 40,
    "nothing is classified",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a process that tried."""

    part: Part
    code: int | None
    """As `subprocess` gives it: negative for a signal; None: it was given up."""
    said: str
    """What it printed, or the last line of its complaint."""


def attempt(part: Part) -> Attempt:
    """Let a process load it."""
    code, output, complaint = run_python(part.code)
    return Attempt(part, code, last_line(output if code == 0 else complaint))


def last_line(text: str) -> str:
    """Of what a process printed; of a traceback it says most."""
    lines = text.strip().splitlines() or ["it said nothing"]
    return lines[-1].strip()[:300]


def run_python(code: str, *arguments: str) -> tuple[int | None, str, str]:
    """Run some Python in a process of its own; never longer than `TIMEOUT_S`.

    Returns
    -------
    int or None
        As `subprocess` gives it: negative for a signal; None: it was given up.
    str, str
        What it printed, and its complaint.
    """
    # -P: nothing that lies in the working directory is loaded
    command = [sys.executable, "-P", "-c", f"{_QUIET}\n{code}", *arguments]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT}, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        output, complaint = child.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        # Not waited for without end: what hangs in a driver is out of reach of any signal.
        with suppress(subprocess.TimeoutExpired):
            child.wait(1)
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()
        return None, "", ""
    return child.returncode, output, complaint


def look_part(host: Host, part: Part) -> Attempt:
    """Try it if there is memory for it; what was tried once is not tried again.

    Raises
    ------
    UnreadableError
        There is too little.
    """
    if part.name not in host.tried:
        need_memory(host, part.needs_mib)
        host.tried[part.name] = attempt(part)
    return host.tried[part.name]


def need_memory(host: Host, needs_mib: int) -> None:
    """Raise where somebody else would have to go.

    Raises
    ------
    UnreadableError
        Less than that is available.
    """
    available_mib = look_memory(host).available_mib
    if available_mib < needs_mib:
        raise UnreadableError(
            f"not tried: {available_mib:.0f} MiB are available, it takes {needs_mib}",
            hint="stop the classifier first: sudo systemctl stop edge-probe-classifier",
        )


def need_numpy(host: Host) -> None:
    """Raise where this very process would not survive an import of numpy.

    Raises
    ------
    UnreadableError
        It would not.
    """
    if judge_part(look_part(host, NUMPY)).level == "fail":
        raise UnreadableError("needs numpy, which does not load here")


def judge_part(found: Attempt) -> Finding:
    """A sentence for every way to end."""
    part = found.part
    if found.code == 0:
        return Finding("ok", found.said)
    if found.code is None:
        return Finding("fail", f"did not load within {TIMEOUT_S:.0f} s: {part.without}",
                       "is the card slow, or the processor busy? look at card-speed")  # fmt: skip
    if found.code > 0:
        hint = part.hint
        if "MemoryError" in found.said or "Cannot allocate memory" in found.said:
            hint = "free memory first: sudo systemctl stop edge-probe-classifier"
        return Finding("fail", f"cannot be loaded: {found.said}: {part.without}", hint)
    why, hint = _SIGNALS.get(-found.code, (f"it was ended by {_name(-found.code)}", part.hint))
    return Finding("fail", f"dies when it is loaded: {why}: {part.without}", hint)


def judge_kernels(found: Attempt) -> Finding:
    """Without them NumPy does it, which is slower and the same."""
    if found.code == 0 and not found.said.startswith("ready: "):
        return Finding("warn", f"{found.said}: NumPy does their work, more slowly",
                       "install edge-probe's package for this processor")  # fmt: skip
    if found.code == 0:
        return Finding("ok", found.said.removeprefix("ready: "))
    return judge_part(found)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_SIGNALS: Mapping[int, tuple[str, str]] = {
    signal.SIGILL: (
        "an illegal instruction: it was built for another processor",
        "install wheels for this board; with the right ones: please report board and version",
    ),
    signal.SIGKILL: (
        "it was killed, most likely because memory ran out",
        "free memory first: sudo systemctl stop edge-probe-classifier; look at memory",
    ),
    signal.SIGSEGV: (
        "a segmentation fault: a damaged file, or a library that does not fit",
        "install the package again; if it comes back, look at card-errors and kernel-log",
    ),
    signal.SIGBUS: (
        "a bus error: a file of it could not be read from the card",
        "look at card-errors and kernel-log; another card, then install again",
    ),
}
