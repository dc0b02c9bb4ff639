"""Every reason for which a bundle is refused; the same table stands in ``FORMAT.md``."""

from enum import StrEnum
from typing import NoReturn

from edge_probe.errors import BundleError


class Rejection(StrEnum):
    """Identifier and name of a rejection; tests hold each against a hostile bundle."""

    NOT_A_BUNDLE = "E01 not-a-bundle"
    FILE_NAME = "E02 file-name"
    FILE_KIND = "E03 file-kind"
    FILE_MISSING = "E04 file-missing"
    FILE_UNLISTED = "E05 file-unlisted"
    FILE_UNUSED = "E06 file-unused"
    FILE_UNREADABLE = "E07 file-unreadable"
    FILE_SIZE = "E08 file-size"
    FILE_HASH = "E09 file-hash"
    SIGNATURE = "E10 signature"
    SIGNATURE_CHECK = "E11 signature-check"
    RELEASE = "E12 release"
    TRUST_STORE = "E13 trust-store"
    TRANSPORT = "E14 transport"
    MANIFEST_JSON = "E20 manifest-json"
    MANIFEST_FORMAT = "E21 manifest-format"
    MANIFEST_VERSION = "E22 manifest-version"
    MANIFEST_CANONICAL = "E23 manifest-canonical"
    MANIFEST_KEYS = "E24 manifest-keys"
    MANIFEST_TYPE = "E25 manifest-type"
    MANIFEST_RANGE = "E26 manifest-range"
    MANIFEST_CONTRADICTION = "E27 manifest-contradiction"
    TIME_EXPANSION = "E28 time-expansion"
    TENSOR_FILE = "E30 tensor-file"
    TENSOR_NAMES = "E31 tensor-names"
    TENSOR_DTYPE = "E32 tensor-dtype"
    TENSOR_SHAPE = "E33 tensor-shape"
    TENSOR_FINITE = "E34 tensor-finite"
    TENSOR_RANGE = "E35 tensor-range"
    PROTOTYPE_PADDING = "E36 prototype-padding"
    THRESHOLD_ORDER = "E37 threshold-order"
    LABEL_TEXT = "E40 label-text"
    LABEL_COUNT = "E41 label-count"
    LABEL_DUPLICATE = "E42 label-duplicate"
    GRAPH_PROTOBUF = "E50 graph-protobuf"
    GRAPH_FUNCTION = "E51 graph-function"
    GRAPH_DOMAIN = "E52 graph-domain"
    GRAPH_OPERATOR = "E53 graph-operator"
    GRAPH_CPU_DEPENDENT = "E54 graph-cpu-dependent"
    GRAPH_EXTERNAL_DATA = "E55 graph-external-data"


class RejectedBundleError(BundleError):
    """A bundle that must not be loaded, with the rule of ``FORMAT.md`` that it breaks.

    Parameters
    ----------
    reason : Rejection
    message : str
        One line: what was expected and what was found.
    hint : str, optional
        What to do about it.
    """

    def __init__(self, reason: Rejection, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{message} [{reason.value}]", hint=hint)
        self.reason = reason


def reject(reason: Rejection, message: str, *, hint: str | None = None) -> NoReturn:
    """Refuse the bundle.

    Raises
    ------
    RejectedBundleError
        Always.
    """
    raise RejectedBundleError(reason, message, hint=hint)


def shown(value: object, limit: int = 60) -> str:
    """A value from a hostile file as printable ASCII of bounded length, for messages."""
    text = ascii(value)
    return text if len(text) <= limit else text[:limit] + "..."
