"""Checkpoints by where they are: a file here, or a model on Hugging Face's hub."""

import re
from pathlib import Path

from edge_probe.errors import EncoderError

_ON_HUB = re.compile(r"hf:(?P<model>[\w.-]+/[\w.-]+)(@(?P<revision>[^/]+))?(/(?P<file>.+))?")
_USUAL = ("model.safetensors", "pytorch_model.bin")


def local_file(source: str) -> Path:
    """The checkpoint as a file on this machine; what is on the hub is downloaded once.

    Parameters
    ----------
    source : str
        A path, or ``hf:owner/name``, ``hf:owner/name@revision``, ``hf:owner/name/file.pt``. Without
        a file name it is ``model.safetensors``, or else ``pytorch_model.bin``.

    Raises
    ------
    EncoderError
        It cannot be had.
    """
    if not source.startswith("hf:"):
        return Path(source)
    found = _ON_HUB.fullmatch(source)
    if found is None:
        raise EncoderError(
            f"{source}: expected hf:owner/name, with @revision and /file behind it if need be",
            hint="for example hf:worstchan/EAT-base_epoch30_pretrain",
        )
    files = (found["file"],) if found["file"] else _USUAL
    return _download(source, found["model"], found["revision"], files)


def _download(source: str, model: str, revision: str | None, files: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging as hub_logging

    hub_logging.set_verbosity_error()  # of every attempt it warns twice
    reachable, missing = True, ""
    for file in files:
        try:
            return Path(
                hf_hub_download(model, file, revision=revision, local_files_only=not reachable)
            )
        except LocalEntryNotFoundError as error:  # the hub was not reached: asking again takes long
            reachable, missing = False, missing or _first_sentence(error)
        except EntryNotFoundError as error:
            missing = _first_sentence(error)
        except (OSError, ValueError) as error:  # what huggingface_hub and httpx raise
            raise EncoderError(
                f"{source}: {_first_sentence(error)}",
                hint="download the file yourself and name it instead",
            ) from error
    raise EncoderError(
        f"{source}: no {' or '.join(files)} here or on the hub: {missing}",
        hint="download the file yourself and name it instead, or add its name: hf:owner/name/file",
    )


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.split(". ")[0].rstrip(".") or type(error).__name__
