"""The Camtrap DP package is valid by its published profile and schemas, read by frictionless."""

import json
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import frictionless
import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from referencing import Registry
from referencing.jsonschema import DRAFT4
from support.lone_worker import classified
from support.made_archive import COMPLETE, T0, MadeDeployment, S, usual
from support.made_recordings import recording

from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.archive import open_archive
from edge_probe.desk.results import write_results
from edge_probe.desk.results.camtrap_package import BASE_URL, PROFILE_FOLDER
from edge_probe.desk.results.selection import Selection
from edge_probe.desk.survey.survey import Request
from edge_probe.desk.told import open_results

GEOJSON = files(frictionless) / "assets" / "profiles" / "geojson.json"


def export(archive: Path, target: Path) -> Selection:
    selection = Selection(open_archive(archive))
    write_results("camtrap-dp", selection, target)
    return selection


def published(url: str) -> dict[str, Any]:
    """As it lies at an address, without a network."""
    assert url.startswith(f"{BASE_URL}/")
    found: dict[str, Any] = json.loads((PROFILE_FOLDER / url.rsplit("/", 1)[1]).read_text())
    return found


def validated(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of all tables, once descriptor and tables are found to be valid."""
    descriptor = json.loads((folder / "datapackage.json").read_text(encoding="utf-8"))
    registry: Registry = Registry().with_resources([
        (
            "https://specs.frictionlessdata.io/schemas/data-package.json",
            DRAFT4.create_resource(frictionless.Package.metadata_profile),
        ),
        (
            "http://json.schemastore.org/geojson.json",
            DRAFT4.create_resource(json.loads(GEOJSON.read_text(encoding="utf-8"))),
        ),
    ])  # fmt: skip
    profile = published(descriptor.pop("profile"))
    checker = jsonschema.Draft4Validator(
        profile, registry=registry, format_checker=jsonschema.FormatChecker()
    )
    checker.validate({**descriptor, "profile": "as published"})
    for resource in descriptor["resources"]:
        if isinstance(resource["schema"], str):
            resource["schema"] = published(resource["schema"])
    package = frictionless.Package.from_descriptor(descriptor, basepath=str(folder))
    report = package.validate()
    assert report.valid, report.to_summary()
    return {one.name: [row.to_dict() for row in one.read_rows()] for one in package.resources}


def tags(text: str) -> dict[str, str]:
    return dict(tag.split(":", 1) for tag in text.split(" | "))


def test_a_package_of_two_deployments_is_valid(tmp_path: Path) -> None:
    for id_ in ("wood-1", "wood-2"):
        usual(tmp_path / "archive", id_).close()
    selection = export(tmp_path / "archive", tmp_path / "out")
    assert selection.left_out.total() == 4  # suppressed and private ones
    found = validated(tmp_path / "out")
    assert [row["deploymentID"] for row in found["deployments"]] == ["wood-1", "wood-2"]
    first = found["deployments"][0]
    assert first["deploymentStart"] == datetime.fromisoformat("2026-05-01T01:00:00+01:00")
    assert first["deploymentEnd"] == datetime.fromisoformat("2026-05-02T01:00:03+01:00")
    assert (first["coordinateUncertainty"], first["timestampIssues"]) == (13, False)
    assert tags(first["deploymentTags"])["microphone"] == "1234:5678:serial%7C1"

    media = {row["mediaID"]: row for row in found["media"]}
    assert len(media) == 10
    for row in media.values():
        assert row["filePublic"] is False
        assert (tmp_path / "archive" / row["filePath"]).exists()

    rows = found["observations"]
    assert len(rows) == 12
    for row in rows:
        deleted = row["scientificName"] == "Strix aluco"
        assert row["observationLevel"] == ("event" if deleted else "media")
        assert row["mediaID"] is None if deleted else row["mediaID"] in media
        told = tags(row["observationTags"])
        start, end = (datetime.fromisoformat(told[name]) for name in ("start", "end"))
        assert timedelta(0) <= start - row["eventStart"] < timedelta(seconds=1)
        assert timedelta(0) <= row["eventEnd"] - end < timedelta(seconds=1)
        rain = told["label"] == "rain"
        assert (row["classificationProbability"] is None) == rain  # it is not calibrated
        assert row["observationType"] == ("unknown" if rain else "animal")
        assert row["classifiedBy"].startswith("birds-1 (")
    text = (tmp_path / "out" / "observations.csv").read_text(encoding="utf-8")
    assert ",2026-05-01T01:00:00+01:00,2026-05-01T01:00:02+01:00,media," in text

    scheduled = sum(float(row["scheduled_s"]) for row in found["effort"])
    lost = sum(float(row["duration_s"]) for row in found["gaps"])
    recorded = sum(float(row["recorded_s"]) for row in found["effort"])
    assert scheduled == pytest.approx(recorded + lost)
    assert recorded == 2 * 12
    assert {row["cause"] for row in found["gaps"]} == {"overflow", "power"}


def test_detections_without_a_time_are_left_out_and_counted(tmp_path: Path) -> None:
    made = usual(tmp_path / "archive")
    made.start(0, "unset")
    made.record()
    made.detect("Parus major_Great Tit", 0.1, 0.2)
    made.lose(2, "stall")
    made.close()
    selection = export(tmp_path / "archive", tmp_path / "out")
    assert sum(n for why, n in selection.left_out.items() if "clock was never set" in why) == 1
    found = validated(tmp_path / "out")
    assert found["deployments"][0]["timestampIssues"] is True
    assert len(found["media"]) == 5
    gap = found["gaps"][-1]
    assert (gap["start_utc"], gap["n_samples"], gap["clock_trust"]) == (None, 16_000, "unset")


def test_a_deployment_without_any_time_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeDeployment(tmp_path / "archive", "lost")
    made.start(0, "unset")
    made.record()
    made.close()
    out = tmp_path / "out"
    arguments = ["results", str(made.archive), "--format", "camtrap-dp", "--out", str(out)]
    assert main(arguments) == 1
    assert "edge-probe retime" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("latitude = 47.5", "latitude is missing; Camtrap DP requires it"),
        ('setup_by = "Ada Löv"', "setup_by is missing; Camtrap DP requires a contributor"),
        ('title = "Waldvögel, 2026"', "project.title is missing"),
        ('sampling_design = "simpleRandom"', "project.sampling_design is missing"),
    ],
)
def test_what_is_missing_is_named(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in COMPLETE
    made = MadeDeployment(tmp_path / "archive", "x", COMPLETE.replace(line, ""))
    made.start()
    made.record()
    made.close()
    out = tmp_path / "out"
    arguments = ["results", str(made.archive), "--format", "camtrap-dp", "--out", str(out)]
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["archive"]


@pytest.mark.parametrize(
    ("id_", "settings_", "message"),
    [
        ("NA", COMPLETE, "takes the deployment_id NA for none"),
        ("a..b", COMPLETE, "allows no path that"),
        ("x", COMPLETE.replace("simpleRandom", "random"), "expected one of Camtrap DP's"),
    ],
)
def test_what_camtrap_dp_would_misread_is_refused(
    id_: str, settings_: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeDeployment(tmp_path / "archive", id_, settings_)
    made.start()
    made.record()
    made.close()
    arguments = ["results", str(made.archive), "--format", "camtrap-dp"]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err


@settings(max_examples=10)
@given(
    utc_ns=st.integers(T0, T0 + 30 * 365 * 86_400 * S),
    offset=st.sampled_from(["-12:00", "-03:30", "-00:30", "+00:00", "+05:45", "+14:00"]),
    first=st.integers(0, 7998),
    words=st.lists(st.sampled_from(["NA", "nan", "a|b", "50 %", "x:y", '"', ",", "|"]), min_size=1),
)
@example(T0, "-12:00", 0, ["|", '"'])  # taken for a table of bars and blanks, if one must guess
def test_moments_and_words_of_any_kind_stay_valid(
    tmp_path_factory: pytest.TempPathFactory, utc_ns: int, offset: str, first: int, words: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    label = f"{' '.join(words)}_name"
    made = MadeDeployment(folder / "archive", "x", COMPLETE.replace("+01:00", offset))
    made.start(utc_ns)
    made.record()
    made.detect(label, first / 8000, (first + 1) / 8000)
    made.close()
    export(folder / "archive", folder / "out")
    (row,) = validated(folder / "out")["observations"]
    (wanted,) = open_archive(folder / "archive").detections()
    told = tags(row["observationTags"])
    assert told["label"].replace("%7C", "|").replace("%25", "%") == label
    assert datetime.fromisoformat(told["start"]) == wanted.start_utc
    assert datetime.fromisoformat(told["end"]) == wanted.end_utc
    for exact, whole in ((wanted.start_utc, row["eventStart"]), (wanted.end_utc, row["eventEnd"])):
        assert exact is not None
        assert abs(exact - whole) < timedelta(seconds=1)
    assert row["eventStart"] <= wanted.start_utc
    assert row["eventEnd"] >= wanted.end_utc
    assert row["eventStart"].utcoffset() == made_offset(offset)


def made_offset(text: str) -> timedelta:
    offset = datetime.fromisoformat(f"2026-01-01T00:00:00{text}").utcoffset()
    assert offset is not None
    return offset


def test_a_folder_that_was_classified(analyser: ChunkAnalyser, tmp_path: Path) -> None:
    """With a deployment file beside the results; names that are alike stay apart."""
    for name in ("a/20260501_040000.wav", "b/20260501_040000.wav"):
        recording(tmp_path / "r" / name, 3000, 1)
    request = Request(tmp_path / "r", tmp_path / "out", analyser.bundle, utc_offset=timedelta(0))
    classified(request)
    (request.out / "deployment.toml").write_text(
        f'deployment_id = "oak"\n{COMPLETE}', encoding="utf-8"
    )
    selection = Selection(open_results(request.out))
    write_results("camtrap-dp", selection, tmp_path / "package")
    tables = validated(tmp_path / "package")
    assert [row["filePath"] for row in tables["media"]] == [
        "r/a/20260501_040000.wav", "r/b/20260501_040000.wav",
    ]  # fmt: skip
    media = [row["mediaID"] for row in tables["media"]]
    assert len(set(media)) == 2
    assert {row["mediaID"] for row in tables["observations"]} == set(media)
    assert sum(float(row["classified_s"]) for row in tables["effort"]) == pytest.approx(6.0)
    assert selection.left_out == {}
