"""The benchmarks run, and the figures with a limit keep it."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_benchmark_runs_and_is_right() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", "--smoke"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    for part in ("overhead", "head"):
        assert result[part]["rows"]
        assert all(row["max_error"] == 0 for row in result[part]["rows"])


def test_ten_streamed_minutes_stay_below_85_mib_and_flat() -> None:
    """The heap settles within some MiB; keeping the samples of every chunk would cost 37.

    ``make bench`` does the same for ten hours, where keeping a KiB a chunk would show.
    """
    sys.path.insert(0, str(BENCHMARKS))
    from bench_memory import measure

    memory = measure(minutes=10)
    assert memory["minutes"] >= 10
    assert memory["peak_rss_mib"] <= 85
    assert memory["growth_after_warm_up_mib"] <= 3
