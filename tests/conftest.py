"""What every test may rely on: shared data if it is there, and no silent skips in CI."""

import os
import platform
import signal
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("EDGE_PROBE_SHARED", ROOT.parent / "shared"))
NO_SKIP = os.environ.get("EDGE_PROBE_NO_SKIP") == "1"
NEEDS_A_BOARD = "needs a Raspberry Pi"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # started in the background by a shell: programs under test would not hear Ctrl-C either
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None)  # a busy one is not a wrong one
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real encoders and labelled audio, beside the checkout."""
    if not (SHARED / "data").is_dir():
        pytest.skip("shared data is absent: set EDGE_PROBE_SHARED to the folder that holds data/")
    return SHARED / "data"


PASSES = {"live": {"device", "faults", "field"}, "alone": {"faults"}}
"""Where `make test` looks for those: to look everywhere takes half a minute of imports."""


LONGEST = {
    "test_benchmarks.py", "test_compare.py", "test_docs.py", "test_fit.py", "test_linters.py",
    "test_soak.py",
}  # fmt: skip
"""Half a minute or more for one test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What listens to a virtual microphone is live; what takes longest comes first.

    A long test that began last would leave the other processors idle.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if not {"plugged", "numbered"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("live")
        for marker, folders in PASSES.items():
            if item.get_closest_marker(marker) and item.path.parent.name not in folders:
                raise pytest.UsageError(
                    f"{item.nodeid}: make test looks for what is {marker} in {sorted(folders)} only"
                )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With EDGE_PROBE_NO_SKIP=1 a skip is a failure, unless it asks for real hardware."""
    report = yield
    report.sections = [  # xdist sends them as UTF-8; names of files may be no text
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else ""
        allowed = NEEDS_A_BOARD in reason or (
            not SHARED.is_dir() and "shared data is absent" in reason
        )
        if not allowed:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} must not skip here: {reason}"
    return report


def pytest_report_header() -> list[str]:
    """Name the kernels under test, so that every log says what was proven."""
    from edge_probe.head.backends import backends

    names = ", ".join(backend.name for backend in backends())
    shared = "present" if SHARED.is_dir() else "absent"
    return [
        f"edge-probe: kernels {names}; numpy {np.__version__}; {platform.machine()}",
        f"edge-probe: shared data {shared}; skips are {'failures' if NO_SKIP else 'allowed'}",
    ]
