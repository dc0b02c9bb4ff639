"""The settings file of ``edge-probe run``: what it may say, and what it is worth."""

import argparse
from pathlib import Path

import pytest

from edge_probe.cli import run_program
from edge_probe.commands import run
from edge_probe.errors import DeploymentError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "settings.toml"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


def parsed(file: Path, *typed: str, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What ``edge-probe run`` is given in the end."""
    caught: list[argparse.Namespace] = []

    def catch(args: argparse.Namespace) -> int:
        caught.append(args)
        return 0

    monkeypatch.setattr(run, "run", catch)
    words = ["run", "--settings", str(file), *typed]
    assert run_program("edge-probe", "", "edge_probe.commands", {"run": ""}, words) == 0
    return caught[0]


def test_every_kind_of_option_means_what_it_means_on_the_command_line(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, (
        'rate = 48_000\nkeep = "sample+detections"\naccept-deletion = true\nno-flac = false\n'
        'private = ["Human", "-Dog"]\nfloor = 0.5\nbundle = "slots/current"\n'
        'species = "/srv/list.csv"\ndevice = "usb:0d8c:0014"\n'
    ))  # fmt: skip
    args = parsed(file, monkeypatch=monkeypatch)
    assert (args.rate, args.keep, args.floor) == (48_000, "sample+detections", 0.5)
    assert args.accept_deletion
    assert not args.no_flac
    assert args.private == ["Human", "-Dog"]
    assert args.bundle == file.parent / "slots/current"
    assert args.species == Path("/srv/list.csv")
    assert args.device == "usb:0d8c:0014"
    assert args.deployment is None


def test_the_command_line_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, 'rate = 48000\nbits = 24\nprivate = ["Human"]\n')
    typed = ["here", "--rate", "8000", "--private", "Dog"]
    args = parsed(file, *typed, monkeypatch=monkeypatch)
    assert (args.state, args.rate, args.bits) == (Path("here"), 8000, 24)
    assert args.private == ["Human", "Dog"], "what may be repeated adds up"


def test_a_deployment_beside_it_is_taken_where_nothing_names_one(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, "")
    beside = file.with_name("deployment.toml")
    beside.touch()
    assert parsed(file, monkeypatch=monkeypatch).deployment == beside
    typed = parsed(file, "--deployment", "other.toml", monkeypatch=monkeypatch)
    assert typed.deployment == Path("other.toml")
    write(file, 'deployment = "wood.toml"')
    assert parsed(file, monkeypatch=monkeypatch).deployment == file.with_name("wood.toml")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("rat = 48000", "unknown key rat", "did you mean rate?"),
        ("accept_deletion = true", "unknown key", "did you mean accept-deletion?"),
        ("plan = 30", "unknown key plan", None),
        ('only = "record"', "unknown key only", None),
        ('state = "/srv"', "unknown key state", None),
        ("beat-fd = 1", "unknown key beat-fd", None),
        ("check-only = true", "unknown key check-only", None),
        ("[rate]\nhz = 1", "rate: expected a number or text", None),
        ('rate = "48000"', "rate: expected a number, without quotes, found '48000'", None),
        ("rate = 5", "rate: expected a whole number from 8000 to 384000, found '5'", "--help"),
        ("rate = true", "rate: expected a number or text", None),
        ("floor = nan", "floor: expected a number from 0", None),
        ("bits = 20", "bits: invalid choice: 20", None),
        ("device = 2", 'device: expected text in "quotes", found 2', None),
        ("keep = 1", "keep: invalid choice: '1'", None),
        ('accept-deletion = "yes"', "accept-deletion: expected true or false, found 'yes'", None),
        ('private = "Human"', "private: expected a list", None),
        ("private = [1]", 'private: expected text in "quotes", found 1', None),
        ("rate 48000", "not TOML", None),
    ],
)
def test_what_cannot_be_meant_is_one_line_that_names_file_and_key(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, said: str, hint: str | None
) -> None:
    write(file, text)
    with pytest.raises(DeploymentError) as caught:
        run.settings_words(file)
    assert str(file) in caught.value.message
    assert said in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")
    words = ["run", "--settings", str(file)]
    assert run_program("edge-probe", "", "edge_probe.commands", {"run": ""}, words) == 1
    assert capsys.readouterr().err.count("error: ") == 1


def test_no_file_at_all_is_told_with_a_way_out(file: Path) -> None:
    with pytest.raises(DeploymentError, match="no such file") as caught:
        run.settings_words(file)
    assert "an empty file is enough" in (caught.value.hint or "")


def test_the_classifier_knows_what_the_recorder_draws(tmp_path: Path) -> None:
    deployment = tmp_path / "deployment.toml"
    deployment.write_text('deployment_id = "site-07"\n', encoding="utf-8")
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    typed = ["state", "--bundle", "b", "--sample", "0.03", "--segment", "7.5"]
    recorder = parser.parse_args([*typed, "--deployment", str(deployment)])
    program = ["-m", "edge_probe", "run"]
    command = run._command(recorder)
    assert command[1:4] == program
    classifier = parser.parse_args(command[4:])
    design = run._known_design(classifier)
    assert design == run._design(recorder, "site-07")
    assert design is not None
    assert (design.window_s, design.probability) == (7.5, 0.03)
    assert design != run._known_design(parser.parse_args(typed))  # of no deployment


def test_a_deployment_file_that_broke_does_not_keep_from_classifying(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    gone = ["state", "--bundle", "b", "--deployment", str(tmp_path / "gone.toml")]
    assert run._known_design(parser.parse_args(gone)) is None
    assert "no scores are kept of sampled windows" in caplog.text
