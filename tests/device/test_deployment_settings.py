"""The deployment file: what is accepted, what is refused and why, and what is kept."""

import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_probe.deployment.settings import adopt, parse_settings, read_settings
from edge_probe.deployment.state import StateFolder
from edge_probe.errors import DeploymentError

FULL = """
deployment_id = "Süd-3.2026"
latitude = 47.9
longitude = -8
coordinate_uncertainty_m = 30
utc_offset = "-03:30"
recorder_serial = "0000abc"
microphone = "usb 0d8c:0014"
capture_gain_db = 24.5
height_m = 1.6
habitat = "beech, old"
setup_by = "M. Muster"
[project]
name = "owls"
year = 2026
"""


def test_every_key_has_its_type() -> None:
    found = parse_settings(FULL.encode(), "x")
    assert found.latitude == 47.9
    assert found.longitude == -8.0
    assert isinstance(found.longitude, float)
    assert found.utc_offset == -timedelta(hours=3, minutes=30)
    assert dict(found.project) == {"name": "owls", "year": 2026}
    assert found.require("capture_gain_db", because="x") == 24.5


def test_byte_order_mark_and_crlf_are_accepted() -> None:
    data = b"\xef\xbb\xbf" + FULL.encode().replace(b"\n", b"\r\n")
    assert parse_settings(data, "x") == parse_settings(FULL.encode(), "x")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("latitute = 3", "unknown key latitute", "did you mean latitude?"),
        ("colour = 3", "unknown key colour", "[project]"),
        ("latitude = 90.1", "-90 to 90 degrees, found 90.1", None),
        ('latitude = "47"', "expected a number, found '47'", "quotes"),
        ("latitude = true", "expected a number, found True", "quotes"),
        ("latitude = nan", "expected a number", "quotes"),
        ("latitude = 47,9", "not TOML", "decimal point"),
        ('utc_offset = "Europe/Berlin"', "utc_offset", "no summer time"),
        ('utc_offset = "+14:30"', "utc_offset", "no summer time"),
        ('utc_offset = "+01:75"', "utc_offset", "no summer time"),
        ("utc_offset = 1", "utc_offset", "no summer time"),
        ('habitat = " wet"', "outer blanks", None),
        ('habitat = ""', "habitat", None),
        ("project = 3", "expected a table, found 3", "[project]"),
        ("project.a.b = 3", "project.a: expected text", None),
        ("project.a = nan", "project.a: expected text", None),
        ('project."a\\n" = 3', "project: a key", None),
        ("latitude = " + "9" * 5000, "not TOML", None),
        ("latitude = " + "[" * 5000, "not TOML", None),
    ],
)
def test_what_cannot_be_meant_is_refused(line: str, message: str, hint: str | None) -> None:
    with pytest.raises(DeploymentError) as caught:
        parse_settings(f'{line}\ndeployment_id = "a"'.encode(), "x.toml")
    assert caught.value.message.startswith("x.toml: ")
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "x" * 65])
def test_an_id_that_is_no_part_of_a_file_name_is_refused(name: str) -> None:
    with pytest.raises(DeploymentError, match="deployment_id"):
        parse_settings(f'deployment_id = "{name}"'.encode(), "x")


def test_a_file_without_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="deployment_id is missing"):
        parse_settings(b"latitude = 3", "x")
    with pytest.raises(DeploymentError, match="no such file"):
        read_settings(tmp_path / "none.toml")


@given(st.binary(max_size=60))
def test_any_bytes_give_settings_or_one_kind_of_error(data: bytes) -> None:
    with suppress(DeploymentError):
        parse_settings(data, "x")


def test_a_missing_key_is_named_when_it_is_needed() -> None:
    with pytest.raises(DeploymentError, match=r"longitude is missing; the sun's times need it"):
        parse_settings(b'deployment_id = "a"', "x").require(
            "longitude", because="the sun's times need it"
        )


def test_the_copy_is_the_file_and_changes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, source = StateFolder(tmp_path / "state"), tmp_path / "my.toml"
    state.path.mkdir()
    source.write_bytes(b'deployment_id = "a" # mine\r\nheight_m = 2\r\n')
    adopt(source, state)
    assert state.deployment.read_bytes() == source.read_bytes()
    source.write_bytes(b'deployment_id = "a"\nhabitat = "bog"\n')
    with caplog.at_level(logging.WARNING):
        assert adopt(source, state).habitat == "bog"
    assert "height_m was 2.0, is missing" in caplog.text
    assert "habitat was missing, is bog" in caplog.text
    source.write_bytes(b'deployment_id = "b"\n')
    with pytest.raises(DeploymentError, match="expected deployment_id a"):
        adopt(source, state)
    assert read_settings(state.deployment).deployment_id == "a"
    assert [path.name for path in state.path.iterdir()] == ["deployment.toml"]


def test_a_damaged_copy_keeps_no_recorder_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, source = StateFolder(tmp_path / "state"), tmp_path / "my.toml"
    state.path.mkdir()
    source.write_bytes(b'deployment_id = "a"\n')
    for n, damaged in enumerate([b"\0" * 20, b"deployment_id"], start=1):
        state.deployment.write_bytes(damaged)
        assert adopt(source, state).deployment_id == "a"
        assert state.deployment.read_bytes() == source.read_bytes()
        assert (state.path / f"deployment.toml.damaged-{n}").read_bytes() == damaged
        assert f"kept as deployment.toml.damaged-{n}" in caplog.text
