"""What a report holds: what is chosen, with which probability, and what is never in it."""

import json
import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from support.analysed_state import SoundCard, work_off, worker_on
from support.made_archive import T0, MadeDeployment, S, usual
from support.made_report import HOSTILE, RATE, Weeks, week

from edge_probe.analysis.stint import BEST
from edge_probe.bundle import open_bundle
from edge_probe.capture.ledger import Ledger
from edge_probe.capture.segment import Format
from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.commands.classify import DEMO_BUNDLE
from edge_probe.desk import opened
from edge_probe.desk.archive import Deployment, open_archive
from edge_probe.desk.collect import collect
from edge_probe.desk.progress import Progress
from edge_probe.desk.report import media
from edge_probe.desk.report.choose import choose_detections
from edge_probe.desk.report.detections import NO_TIME, Detections
from edge_probe.desk.report.effort import Effort
from edge_probe.desk.report.items import Plan
from edge_probe.desk.report.report import write_report
from edge_probe.desk.results.selection import Selection
from edge_probe.desk.rows import EffortRow
from edge_probe.disk.findings import Findings
from edge_probe.disk.sample import Design, Sampler, Stratum

TIT = "Parus major_Great Tit"
PLAN = Plan(3, 10, 10**9, 0, inside=False)


def held(page: Path) -> dict[str, Any]:
    """What a page holds."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


def report(archive: Path, target: Path, plan: Plan = PLAN) -> dict[str, Any]:
    write_report(Selection(open_archive(archive)), target, plan, StringIO())
    return held(target / "index.html")


def names(found: dict[str, Any], what: str = "items") -> Counter[str]:
    return Counter(found["classes"][one["class"]]["label"] for one in found[what])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return week(tmp_path_factory.mktemp("week") / "archive")


def test_an_existing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual(tmp_path / "a").close()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    assert main(["report", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out" / "index.html").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("store", ["capture.sqlite", "detections.sqlite"])
def test_a_half_written_store_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    usual(tmp_path / "a").close()
    usual(tmp_path / "a", "wood-2").close()
    path = tmp_path / "a" / "wood-2" / store
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["report", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "wood-2: cannot be read" in error
    assert "hint: edge-probe snapshot" in error
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE score_cache SET best = x'00'", "score_cache has 1 bytes"),
        ("DELETE FROM label WHERE class_index = 1", "class 1 of bundle"),
    ],
)
def test_scores_that_cannot_be_meant_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, why: str
) -> None:
    weeks = Weeks(tmp_path / "a", "fen")
    weeks.days(1)
    weeks.made.db.execute(change)
    weeks.close()
    assert main(["report", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert why in error
    assert "detections.sqlite is damaged" in error
    assert not (tmp_path / "out").exists()


def test_a_deployment_that_is_being_collected_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = usual(tmp_path / "a")
    made.close()
    (made.folder / "collected.part").write_text("{}")
    assert main(["report", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == 1
    assert "collecting was not finished" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)]
)
def test_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """In the middle of sound and pictures."""
    usual(tmp_path / "a").close()
    write, n = media.Media.write, Counter[str]()

    def fails(self: media.Media, *args: Any) -> Any:
        n["written"] += 1
        if n["written"] == 3:
            raise error
        return write(self, *args)

    monkeypatch.setattr(media.Media, "write", fails)
    assert main(["report", str(tmp_path / "a"), "-o", str(tmp_path / "out")]) == code
    assert n["written"] == 3
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_nothing_private_is_in_it(tmp_path: Path) -> None:
    """Neither a detection, nor sound, nor a window near it."""
    weeks = Weeks(tmp_path / "a", "fen")
    weeks.days(1)
    begin = weeks.songs[0][0]
    weeks.made.detect("Homo sapiens_Human", begin + 2, begin + 3, private=True)
    weeks.made.detect("Homo sapiens_Human", begin + 300, begin + 301, private=True)
    weeks.close()
    found = report(tmp_path / "a", tmp_path / "out", Plan(50, 50, 10**9, 0, inside=False))
    assert "Homo sapiens_Human" not in names(found)
    (private,) = [one for one in found["classes"] if one["private"]]
    assert private["label"] == "Homo sapiens_Human"
    n = found["detections"]["n"]
    with Deployment(tmp_path / "a" / "fen") as deployment:
        assert n == sum(not one.private for one in deployment.detections())
    left_out = dict(found["left_out"])
    assert left_out["detections are of private classes"] == 2
    assert left_out["windows of the stratified sample lie near something private"] == 2
    first, last = (begin + 2 - 5) * RATE, (begin + 3 + 5) * RATE
    n_silenced = 0
    for clip in found["clips"]:
        samples, _ = sf.read(tmp_path / "out" / clip["sound"], dtype="int16")
        at = np.arange(clip["start"], clip["start"] + clip["n"])
        inside = (at >= first) & (at < last)
        assert not samples[inside].any()
        n_silenced += bool(inside.any())
        assert samples[~inside].any() or inside.all()
    assert n_silenced
    for one in found["windows"]:
        assert one["end"] <= first or one["start"] >= last


def test_what_was_deleted_is_told_and_not_chosen(tmp_path: Path) -> None:
    usual(tmp_path / "a").close()
    found = report(tmp_path / "a", tmp_path / "out")
    assert names(found) == {
        "Parus major_Great Tit": 3, 'Turdus "x", y_Ørret, åé': 1, "rain": 1
    }  # fmt: skip
    assert found["detections"]["n"] == 6
    labels = [one["label"] for one in found["classes"]]
    assert "Strix aluco_Tawny Owl" in labels
    (rain,) = [one for one in found["items"] if labels[one["class"]] == "rain"]
    missing = found["clips"][rain["clip"]]["missing"]
    assert missing[0][2] == "deleted"
    for one in found["clips"]:
        sound, rate = sf.read(tmp_path / "out" / one["sound"])
        assert (len(sound), rate) == (one["n"], one["rate"])


def test_the_question_is_of_the_best_window_and_the_box_is_in_it(
    archive: Path, tmp_path: Path
) -> None:
    found = report(archive, tmp_path / "out")
    for one in found["items"]:
        clip = found["clips"][one["clip"]]
        assert clip["start"] <= one["start"] < one["end"] <= clip["start"] + clip["n"]
        start, end, low, high = one["box"]
        assert one["start"] <= start < end <= one["end"]
        assert 0 < low < high < RATE / 2
        assert one["end"] - one["start"] == 3 * RATE
        picture = Image.open(tmp_path / "out" / clip["picture"])
        assert picture.format == "WEBP"
        assert picture.height == 256
        pixels = np.asarray(picture.convert("L"), float)
        across = [round((at - clip["start"]) / clip["n"] * picture.width) for at in (start, end)]
        down = [round(256 * (1 - hz / (RATE / 2))) for hz in (high, low)]
        assert pixels[slice(*down), slice(*across)].mean() > 1.5 * pixels.mean(), (
            "the song is in the box"
        )


def columns(values: list[tuple[int, int, float, bool]]) -> Any:
    """Of (deployment, hour of the day, logit, audible), all of one class."""
    n = len(values)
    deployment, hour, logit, audible = (np.array(one) for one in zip(*values, strict=True))
    empty = Detections().columns()
    return empty._replace(
        deployment=deployment.astype(np.uint16), klass=np.zeros(n, np.uint16),
        time=(hour * 3600 + 86400 * 300).astype(np.uint32), logit=logit.astype(float),
        audible=audible.astype(bool),
    )  # fmt: skip


def test_best_rarest_and_random() -> None:
    """Rare is an hour and a deployment with few; what has no sound counts, but is not chosen."""
    common = [(0, 5, 1.0 + n / 1000, True) for n in range(500)]
    rare = [(0, 14, 0.6, True), (1, 5, 0.7, True), (1, 5, 0.8, False)]
    loud = [(0, 5, 9.0, False)]
    made = columns([*common, *rare, *loud])
    chosen = choose_detections(made, 2, seed=1)
    of = {why: [one.at for one in chosen if why in one.whys] for why in ("best", "rare", "random")}
    assert of["best"] == [499, 498]
    assert of["rare"] == [500, 501]
    assert len(of["random"]) == 2
    assert chosen == choose_detections(made, 2, seed=1)
    drawn = Counter(
        one.at
        for seed in range(400)
        for one in choose_detections(made, 5, seed)
        if "random" in one.whys
    )
    assert set(drawn) <= set(range(502))
    assert max(drawn.values()) < 16, "each of 502 comes 4 times in 400 draws of 5"
    assert len(drawn) > 480


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two deployments of a day or two."""
    folder = tmp_path_factory.mktemp("days") / "archive"
    for n, id_ in enumerate(("fen", "heath"), 1):
        weeks = Weeks(folder, id_, n)
        weeks.days(n)
        weeks.close()
    return folder


def test_windows_carry_the_probability_of_all_draws(days: Path, tmp_path: Path) -> None:
    """So the weights of those that are asked about sum up to all that could have been."""
    n_all = {"random": 0, "stratified": 0}
    for id_ in ("fen", "heath"):
        with closing(sqlite3.connect(days / id_ / "capture.sqlite")) as db:
            for kind, n in db.execute("SELECT kind, count(*) FROM sample GROUP BY kind"):
                n_all[kind] += n
    found = report(days, tmp_path / "out", Plan(1, 7, 10**9, 0, inside=False))
    for kind, p in (("random", 0.01), ("stratified", 0.1)):
        chosen = [one for one in found["windows"] if one["kind"] == kind]
        assert len(chosen) == 7
        assert len({(one["clip"], one["start"]) for one in chosen}) == 7
        for one in chosen:
            assert one["probability"] == pytest.approx(p * 7 / n_all[kind])
    everything = report(days, tmp_path / "all", Plan(1, 1000, 10**9, 0, inside=False))
    assert len(everything["windows"]) == sum(n_all.values())
    assert {one["probability"] for one in everything["windows"]} == {0.01, 0.1}


def test_logits_of_a_window_are_the_highest_of_those_that_touch_it(
    archive: Path, tmp_path: Path
) -> None:
    found = report(archive, tmp_path / "out")
    labels = [one["label"] for one in found["classes"]]
    dbs = {
        n: sqlite3.connect(archive / one["id"] / "detections.sqlite")
        for n, one in enumerate(found["deployments"])
        if one["id"] != "quarry"
    }
    for one in found["windows"]:
        db = dbs[found["clips"][one["clip"]]["deployment"]]
        expected: dict[str, float] = {}
        of_index = dict(db.execute("SELECT class_index, label FROM label"))
        for (best,) in db.execute(
            "SELECT best FROM score_cache WHERE first_frame < ? AND first_frame + n_frames > ?",
            (one["end"], one["start"]),
        ):
            for index, logit in np.frombuffer(best, BEST).tolist():
                label = of_index[index]
                expected[label] = max(logit, expected.get(label, -np.inf))
        assert {labels[klass]: logit for klass, logit in one["logits"]} == expected
        boxes = {labels[box[0]] for box in one["boxes"]}
        assert boxes <= {label for label, logit in expected.items() if logit > 0}
    for db in dbs.values():
        db.close()


def test_room_is_kept_and_probabilities_know_it(days: Path, tmp_path: Path) -> None:
    all_of_it = report(days, tmp_path / "all")
    size = sum(one.stat().st_size for one in (tmp_path / "all" / "media").iterdir())
    found = report(days, tmp_path / "some", Plan(3, 10, size // 2, 0, inside=False))
    assert sum(one.stat().st_size for one in (tmp_path / "some" / "media").iterdir()) <= size // 2
    assert dict(found["left_out"])["sounds have no room within --quota"] > 0
    assert len(found["clips"]) < len(all_of_it["clips"])
    assert set(names(found)) == set(names(all_of_it)), "no class takes the room of another"
    for kind in ("random", "stratified"):
        few, more = (
            [1 / one["probability"] for one in of["windows"] if one["kind"] == kind]
            for of in (found, all_of_it)
        )
        assert 0 < len(few) < len(more)
        assert sum(few) == pytest.approx(sum(more))


def test_a_damaged_file_costs_its_own_sounds_only(tmp_path: Path) -> None:
    """Windows that nobody can hear are not among those that the others stand for."""
    weeks = Weeks(tmp_path / "a", "fen")
    weeks.days(1)
    weeks.close()
    kept = sorted((tmp_path / "a" / "fen" / "audio").glob("*.wav"))
    kept[1].write_bytes(kept[1].read_bytes()[:100])
    found = report(tmp_path / "a", tmp_path / "out", Plan(1, 1000, 10**9, 0, inside=False))
    assert dict(found["left_out"])["sounds lie in a file that is damaged"] >= 5
    kinds = Counter(one["kind"] for one in found["windows"])
    assert kinds == {"random": 2 * (len(kept) - 1), "stratified": 3 * (len(kept) - 1)}
    assert {one["probability"] for one in found["windows"]} == {0.01, 0.1}


def test_what_was_too_quiet_for_the_gate_was_listened_to() -> None:
    """A night of one call is a night, not the minutes that passed the gate."""
    hour = datetime(2026, 5, 1, 22, tzinfo=UTC)
    row = EffortRow(
        "alder", 1, 0, "b", hour, hour + timedelta(hours=1), "ntp", 3600.0, 3600.0, 0.0, 0.0, 0.0,
        3000.0, 400.0, 200.0,
    )  # fmt: skip
    settings = SimpleNamespace(utc_offset=timedelta(0))
    effort = Effort()
    effort.add(0, SimpleNamespace(effort=lambda: iter([row]), gaps=list, settings=settings))  # type: ignore[arg-type]
    told = effort.as_json(["b"])
    assert [one[3] for one in told["heard"]] == [3200]
    assert told["heard_by_hour"] == [[0, 0, *[0] * 22, 3200, 0]]
    assert told["gated"] == [[0, 0, 3000]]


def test_effort_gaps_and_health_are_those_of_the_archive(archive: Path, tmp_path: Path) -> None:
    found = report(archive, tmp_path / "out")
    effort = found["effort"]
    with Deployment(archive / "alder-carr") as deployment:
        rows = list(deployment.effort())
        gaps = [one for one in deployment.gaps() if one.cause != "schedule"]
        (floor,) = deployment.capture_db.execute(
            "SELECT avg(value) FROM health WHERE name = 'floor_2000_hz.0'"
        ).fetchone()
    for n, kind in enumerate(("scheduled_s", "recorded_s", "gap_s", "private_s", "unhealthy_s")):
        told = sum(row[2 + n] for row in effort["time"] if row[0] == 0)
        assert told == pytest.approx(sum(getattr(one, kind) for one in rows), abs=len(rows))
    classified = sum(one.classified_s for one in rows)
    assert sum(row[3] for row in effort["heard"] if row[0] == 0) == pytest.approx(classified, abs=9)
    assert sum(sum(row[2:]) for row in effort["heard_by_hour"] if row[0] == 0) == pytest.approx(
        classified, abs=24
    )
    lost = sum(row[3] for row in effort["lost"] if row[0] == 0)
    assert lost == pytest.approx(sum(one.duration_s or 0 for one in gaps), abs=0.1)
    assert sum(row[2] for row in effort["gaps"] if row[0] == 0) == len(gaps)
    longest = [row for row in effort["longest"] if row[0] == 0]
    assert longest[0][2:] == [10800.0, "power"]
    readings = [row for row in found["microphone"]["readings"] if row[:2] == [0, "floor_2000_hz.0"]]
    assert len(readings) == 8, "days, in the deployment's own offset"
    assert np.mean([row[3] for row in readings]) == pytest.approx(floor, abs=0.2)
    (alarm,) = [row for row in found["microphone"]["alarms"] if row[0] == 0]
    assert alarm[1:3] == ["clipping.0", 7]


def test_two_channels_and_two_bundles_are_not_mixed(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen", format=Format(8000, 2, 2))
    made.start()
    made.record(60)
    for bundle in ("birds-1", "birds-2"):
        for channel in (0, 1):
            made.detect(TIT, 5 + channel, 6 + channel, channel=channel, bundle=bundle)
    for number in (1, 2):
        made.db.execute("INSERT INTO label VALUES (?, 0, ?, 0.5, 0.2)", (number, TIT))
        for channel in (0, 1):
            best = np.array([(0, number + channel / 2)], BEST).tobytes()
            for n in range(58):
                made.db.execute(
                    "INSERT INTO score_cache VALUES (?, 1, 0, ?, ?, ?, 24000, 0.9, ?)",
                    (number, n, channel, n * 8000, best),
                )
    with made.ledger.transaction():
        made.ledger.connection.execute(
            "INSERT INTO sample VALUES (1, 80000, 'random', 80000, NULL, 0.5)"
        )
    made.close()
    found = report(tmp_path / "a", tmp_path / "out")
    assert [one["id"] for one in found["bundles"]] == ["birds-1", "birds-2"]
    assert [one["bundle"] for one in found["classes"]] == [0, 1]
    assert names(found) == {"Parus major_Great Tit": 4}
    assert [
        (one["bundle"], found["clips"][one["clip"]]["channel"], one["logits"][0][1])
        for one in found["windows"]
    ] == [(0, 0, 1.0), (0, 1, 1.5), (1, 0, 2.0), (1, 1, 2.5)]
    assert len({one["clip"] for one in found["windows"]}) == 2, "two bundles share a sound"


def test_ultrasound_is_played_slowly(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "cave", format=Format(384_000, 1, 2))
    made.start()
    made.record(4)
    made.detect("Nyctalus noctula_Noctule", 1, 1.1, band=(20e3, 25e3))
    made.close()
    found = report(tmp_path / "a", tmp_path / "out")
    (clip,) = found["clips"]
    info = sf.info(tmp_path / "out" / clip["sound"])
    assert (clip["slowed"], clip["rate"], info.samplerate) == (10, 384_000, 38_400)
    assert info.frames == clip["n"]


def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start(0, "unset")
    made.record(5)
    made.lose(1)
    made.detect("a_b", 1, 2)
    made.close()
    found = report(tmp_path / "a", tmp_path / "out")
    assert found["clips"][0]["time"] == NO_TIME
    assert found["effort"]["time"][0][:4] == [0, NO_TIME, 6, 5]
    assert found["effort"]["lost"] == [[0, "overflow", NO_TIME, 1.0]]


def test_no_text_of_an_archive_is_markup(archive: Path, tmp_path: Path) -> None:
    report(archive, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    data = text.split('id="data">')[1]
    body, rest = data.split("</script>", 1)
    assert "<" not in body
    assert "&" not in body
    assert "onerror" in body
    assert rest.lstrip().startswith("<script>")
    assert HOSTILE in [one["label"] for one in json.loads(body)["classes"]]
    assert text.count("<script") == 3
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_it_is_known_by_its_content(archive: Path, tmp_path: Path) -> None:
    """Verdicts that a browser keeps belong to what was asked, not to when the page was made."""

    def about(name: str, plan: Plan) -> Any:
        report(archive, tmp_path / name, plan)
        text = (tmp_path / name / "index.html").read_text(encoding="utf-8")
        return json.loads(re.search(r'id="about">(.*?)</script>', text)[1])["id"]  # type: ignore[index]

    few = Plan(1, 1, 10**9, 0, inside=False)
    assert about("one", few) == about("two", few)
    assert about("one-more", Plan(1, 1, 10**9, 3, inside=False)) != about("three", few)


def test_many_deployments_are_open_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "MAX_OPEN", 2)
    for n in range(5):
        made = MadeDeployment(tmp_path / "a", f"d{n}")
        made.start(T0 + n * S)
        made.record()
        made.detect("a_b", 0.2, 0.4, logit=1 + n)
        made.close()
    found = report(tmp_path / "a", tmp_path / "out", Plan(9, 1, 10**9, 0, inside=False))
    of_clips = [found["clips"][one["clip"]]["deployment"] for one in found["items"]]
    assert sorted(of_clips) == [0, 1, 2, 3, 4]


def test_a_state_folder_without_detections(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeDeployment(tmp_path / "a", "fen")
    made.start()
    made.record()
    made.close()
    (made.folder / "detections.sqlite").unlink()
    assert main(["report", str(made.folder), "-o", str(tmp_path / "out")]) == 0
    assert "0 detections, 0 to listen to" in capsys.readouterr().out


def test_a_real_deployment(tmp_path: Path, shared: Path) -> None:
    """Everyday sounds through the recorder, the classifier, its sampler, and collect."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "deployment.toml").write_text('deployment_id = "yard"\nutc_offset = "+01:00"\n')
    card = SoundCard(state, rate_hz=44_100, segment_s=20.0)
    for path in sorted((shared / "esc10" / "audio").glob("*/[12]-*.ogg"))[::12]:
        card.play(sf.read(path, dtype="int16", always_2d=True)[0])
    card.end()
    bundle = open_bundle(DEMO_BUNDLE)
    work_off(worker_on(state, ChunkAnalyser(bundle)))
    ledger, findings = Ledger(state / "capture.sqlite"), Findings(state / "detections.sqlite")
    Sampler(Design(1, 5.0, 0.5, (Stratum(0.1, 0.5),)), findings).draw(ledger)
    findings.close()
    ledger.close()
    (outcome,) = collect([state], tmp_path / "archive", Progress(StringIO()))
    assert outcome.is_good, outcome
    shutil.rmtree(state)
    found = report(tmp_path / "archive", tmp_path / "out")
    assert found["deployments"][0]["id"] == "yard"
    assert len(found["classes"]) == len(bundle.labels)
    assert found["detections"]["n"] > 5
    assert len(names(found)) >= 3
    kinds = Counter(one["kind"] for one in found["windows"])
    assert kinds["random"] > 2
    assert kinds["stratified"] > 2
    window_s = bundle.windows.window_chunks * bundle.encoder.chunk_s
    for one in found["items"]:
        assert one["end"] - one["start"] <= window_s * 44_101
        overhang = max(one["start"] - one["box"][0], one["box"][1] - one["end"])
        assert overhang < 0.1 * 44_100, "a token is wider than its place"
    logits = [dict(one["logits"]) for one in found["windows"]]
    assert all(len(one) >= 8 for one in logits)
    picture = Image.open(BytesIO((tmp_path / "out" / found["clips"][0]["picture"]).read_bytes()))
    assert picture.size[0] > 400
