"""What judges the virtual machine's evidence (`tests/vm`): it must see what is wrong."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from vm.ledger import lost, read_ledger
from vm.syncs import parse
from vm.verdict import as_json, judge

from edge_probe.source.wav import pcm_header

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "vm.json"

TRACE = """\
# tracer: nop
            disk-412   [001] .....    61.100000: sys_fdatasync(fd: 9)
            disk-412   [001] .....    61.150000: sys_fdatasync -> 0x0
 edge-probe-rec-400   [000] .....    61.200000: sys_fdatasync(fd: c)
            disk-412   [001] .....    61.300000: sys_fdatasync(fd: 9)
 edge-probe-rec-400   [000] .....    61.400000: sys_fdatasync -> 0xfffffffffffffffb
            disk-412   [001] .....    61.500000: sys_fdatasync -> 0x0
"""


def test_syncs_that_succeeded_are_read_from_the_kernels_trace() -> None:
    found = [(one.task, one.fd, one.began_s, one.ended_s) for one in parse(TRACE)]
    assert found == [(412, 9, 61.1, 61.15), (412, 9, 61.3, 61.5)]


SCHEMA = {
    "capture.sqlite": """
        CREATE TABLE stream (stream INTEGER, rate_hz INTEGER);
        CREATE TABLE segment (stream INTEGER, first_frame INTEGER, n_frames INTEGER, name TEXT);
        CREATE TABLE gap (stream INTEGER, first_frame INTEGER, n_frames INTEGER, cause TEXT);
        INSERT INTO stream VALUES (1, 100);
        INSERT INTO segment VALUES (1, 0, 50, 'a.wav'), (1, 60, 40, 'b.wav');
        INSERT INTO gap VALUES (1, 50, 10, 'stall'), (1, 100, NULL, 'power');
    """,
    "detections.sqlite": """
        CREATE TABLE detection (detection INTEGER, stream INTEGER, run_frame INTEGER, label TEXT,
                                first_frame INTEGER, n_frames INTEGER, logit REAL);
        INSERT INTO detection VALUES (1, 1, 0, 'rain', 3, 20, 1.5);
    """,
}

SAID: dict[str, Any] = {
    "growing": {"b.wav": 44 + 2 * 30},
    "segments": [[1, 0, 50, "a.wav"], [1, 60, None, "b.wav"]],
    "gaps": [[1, 50, 10, "stall"]],
    "detections": [[1, 1, 0, "rain", 3, 20, 1.5]],
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that is whole."""
    (tmp_path / "audio").mkdir()
    for name, n_frames in (("a", 50), ("b", 40)):
        content = pcm_header(100, 1, 2, 2 * n_frames) + bytes(2 * n_frames)
        (tmp_path / "audio" / f"{name}.wav").write_bytes(content)
    for name, script in SCHEMA.items():
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.executescript(script)
    return tmp_path


def test_a_state_that_is_whole_passes(state: Path) -> None:
    ledger = read_ledger(state)
    assert ledger.problems == []
    assert ledger.recorded_s == 0.9
    assert ledger.gaps == [(1, 50, 0.1, "stall"), (1, 100, None, "power")]
    assert lost(SAID, state) == []


@pytest.mark.parametrize(
    ("database", "change", "problem", "missing"),
    [
        ("capture", "DELETE FROM gap WHERE first_frame = 50", "hole", "gap 1, 50"),
        ("capture", "DELETE FROM segment WHERE name = 'a.wav'", "without a row", "a.wav"),
        ("capture", "UPDATE segment SET n_frames = 20 WHERE first_frame = 60", "b.wav", "b.wav"),
        ("capture", "UPDATE gap SET cause = 'disk' WHERE first_frame = 50", "", "gap 1, 50"),
        ("capture", "UPDATE segment SET n_frames = NULL WHERE name = 'b.wav'", "grows", "b.wav"),
        ("detections", "UPDATE detection SET logit = 1.25", "", "detection"),
    ],
)
def test_what_is_lost_is_named(
    state: Path, database: str, change: str, problem: str, missing: str
) -> None:
    with closing(sqlite3.connect(state / f"{database}.sqlite")) as db:
        db.execute(change)
        db.commit()
    assert problem in " ".join(read_ledger(state).problems)
    assert missing in " ".join(lost(SAID, state))


def test_a_file_that_is_cut_is_seen(state: Path) -> None:
    path = state / "audio" / "a.wav"
    path.write_bytes(path.read_bytes()[:-2])
    assert "a.wav" in " ".join(read_ledger(state).problems)


def committed() -> dict[str, Any]:
    """The result in the repository."""
    found: dict[str, Any] = json.loads(RESULT.read_text("utf-8"))
    return found


def test_the_committed_claims_are_what_the_committed_facts_prove() -> None:
    result = committed()
    assert as_json(judge(result["facts"])) == result["claims"]
    assert all(claim["holds"] for claim in result["claims"])


CHANGES: list[tuple[str, list[Any], object]] = [
    ("user_mode", ["selftest_status"], 1),
    ("user_mode", ["tests_status"], 1),
    ("install", ["networks"], ["lo", "eth0"]),
    ("listen", ["units", "edge-probe-recorder.service", "ActiveState"], "failed"),
    ("listen", ["runs", 0, "worst_score"], 0.5),
    ("listen", ["runs", 0, "detections_here"], 0),
    ("listen", ["ledger_problems"], ["a.wav: still grows"]),
    ("listen", ["n_network_sockets"], 1),
    ("faults", ["recorder_hangs", "new_process"], False),
    ("faults", ["classifier_out_of_memory", "recorder_untouched"], False),
    ("faults", ["lost"], ["a.wav: 3 of 4 frames"]),
    ("power", ["lost"], ["detection 1"]),
    ("power", ["ledger_problems"], ["hole"]),
    ("update", ["by_command", "status"], 1),
    ("update", ["too_slow", "afterwards", "last"], [9, "confirmed", ""]),
    ("update", ["refused", "development.epb", "status"], 0),
    ("update", ["by_stick", "results"], {}),
    ("estimates", ["memory_ours", "middle_error"], -0.2),
    ("update", ["too_slow", "status"], 1),
    ("cost", ["exposure", "edge-probe-classifier.service"], 1.1),
    ("cost", ["doctor", "status"], 1),
    ("cost", ["verify"], ["edge-probe-recorder.service: unknown key"]),
]


def test_a_phase_that_was_not_played_is_named() -> None:
    result = committed()
    missing = {phase for phase, *_ in CHANGES} - set(result["facts"])
    assert not missing or f"Not played: {', '.join(sorted(missing))}." in result["note"]


@pytest.mark.parametrize(
    ("phase", "path", "value"), [one for one in CHANGES if one[0] in committed()["facts"]]
)
def test_a_fact_that_changes_makes_a_claim_fail(phase: str, path: list[Any], value: object) -> None:
    facts = committed()["facts"]
    *way, last = path
    place = facts[phase]
    for step in way:
        place = place[step]
    assert place[last] != value
    place[last] = value
    assert not all(claim.holds for claim in judge(facts))
