"""Files that people write for a device: whether it can live with them.

The desk asks before it stages them, the device before it takes them over.
"""

import argparse
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from edge_probe.commands.run import add_arguments, settings_words
from edge_probe.deployment.settings import adopted_id, read_settings
from edge_probe.deployment.species import SpeciesList
from edge_probe.deployment.state import StateFolder
from edge_probe.errors import DeploymentError, DeviceError
from edge_probe.health.identity import refuse_unstable
from firmware_tools.layout import Layout
from firmware_tools.stage.site import SPECIES

_CURRENT = Layout().slots / "current"


def run_options(path: Path) -> argparse.Namespace:
    """The options of ``edge-probe run`` that a settings file stands for.

    Parameters
    ----------
    path : Path

    Raises
    ------
    EdgeProbeError
        With them the recorder would not start.
    """
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    options = parser.parse_args(settings_words(path))
    if options.keep != "all" and not options.accept_deletion:
        _refuse(f"{path}: keep = {options.keep!r} deletes audio when the disk fills up",
                "edge-probe run --plan DAYS shows it; add accept-deletion = true")  # fmt: skip
    if options.device is not None:
        _check_microphone(f"{path}: device", options.device)
    return options


def check_settings(path: Path, labels: Collection[str] | None) -> argparse.Namespace:
    """Refuse a settings file with which the recorder would not start, or not do what is meant.

    Parameters
    ----------
    path : Path
    labels : collection of str or None
        Of the bundle; None: there is none yet.

    Returns
    -------
    argparse.Namespace
        The options of ``edge-probe run``.

    Raises
    ------
    EdgeProbeError
    """
    options = run_options(path)
    if options.bundle not in (None, _CURRENT):
        _refuse(f'{path}: bundle: expected "{_CURRENT}", found "{options.bundle}"',
                "bundles are installed there, and changed there")  # fmt: skip
    if options.bundle is None and (options.species or options.private):
        _refuse(f"{path}: species and private classes need a bundle",
                f'add the line bundle = "{_CURRENT}"')  # fmt: skip
    if options.species not in (None, path.with_name(SPECIES)):
        _refuse(f'{path}: species: expected "{SPECIES}", beside this file, found'
                f' "{options.species}"', "a device takes only a file of that name")  # fmt: skip
    if options.deployment is not None:
        _refuse(f"{path}: deployment: a device has one place for it",
                "leave the line out: deployment.toml beside the settings is taken")  # fmt: skip
    if labels is not None:
        _check_private(options.private, labels, path)
        if options.bundle is None:
            _refuse(f"{path}: no bundle is named: there is one, and it would not be used",
                    f'add the line bundle = "{_CURRENT}"')  # fmt: skip
    return options


def check_labels(path: Path, labels: Collection[str]) -> None:
    """Refuse a bundle that lacks a class which the settings of the device name.

    The classifier would not start: what is to be private would lie on the card as it was heard.

    Parameters
    ----------
    path : Path
        The settings file of the device.
    labels : collection of str
        Of the bundle.

    Raises
    ------
    EdgeProbeError
    """
    options = run_options(path)
    _check_private(options.private, labels, path)
    if options.species is not None and options.species.exists():  # else it comes after the bundle
        check_species(options.species, labels)


def check_species(path: Path, labels: Collection[str]) -> None:
    """Refuse a species list that the bundle does not fit.

    Raises
    ------
    EdgeProbeError
    """
    SpeciesList.read(path, labels)


def check_deployment(path: Path, state: Path | None = None) -> None:
    """Refuse a deployment file that is not valid, or of another deployment than the recordings.

    Parameters
    ----------
    path : Path
    state : Path, optional
        The state folder of the device.

    Raises
    ------
    EdgeProbeError
    """
    settings = read_settings(path)
    if settings.microphone is not None:
        _check_microphone(f"{path}: microphone", settings.microphone)
    found = settings.deployment_id
    kept = _kept_id(state) if state else ""
    if kept and kept != found:
        _refuse(
            f"{path}: expected deployment_id {kept}, to which the recordings of this device belong,"
            f" found {found}",
            f"with it nothing would be recorded: collect {state} and empty it first",
        )


def _kept_id(state: Path) -> str:
    try:
        return adopted_id(StateFolder(state))
    except DeploymentError:  # the recorder will put it aside
        return ""


def _check_microphone(where: str, name: str) -> None:
    """The recorder waits for one that is not there, and does not start with what is no name."""
    try:
        refuse_unstable(name, ())
    except DeviceError as error:
        _refuse(f"{where}: {error.message}", "edge-probe devices lists them by name")


def _check_private(private: Collection[str], labels: Collection[str], path: Path) -> None:
    for label in private:
        if label not in labels:
            near = get_close_matches(label, labels, n=1)
            hint = f"did you mean {near[0]}?" if near else "edge-probe info shows its labels"
            _refuse(f"{path}: private: {label!r} is no label of the bundle", hint)


def _refuse(message: str, hint: str) -> None:
    raise DeploymentError(message, hint=hint)
