"""Class names: one line each, ``Scientific name_Common name``."""

from dataclasses import dataclass
from typing import NoReturn

from edge_probe.bundle.reject import Rejection, reject, shown

MAX_LABEL = 200
"""Characters of a label."""

LABEL_RULE = (
    f"a label has 1 to {MAX_LABEL} printable characters, no outer blanks, and no empty part at its "
    "first _"
)


@dataclass(frozen=True, slots=True)
class Label:
    """The name of one class, split at its first ``_``; without one, both parts are the label."""

    text: str
    scientific_name: str
    common_name: str

    @classmethod
    def parse(cls, text: str) -> "Label":
        """Split a label.

        Parameters
        ----------
        text : str
            Such as ``Parus major_Great Tit`` or ``background``.
        """
        scientific, separator, common = text.partition("_")
        return cls(text, scientific, common if separator else scientific)

    @property
    def is_clean(self) -> bool:
        """Whether a bundle may hold it: `LABEL_RULE`."""
        parts = (self.text, self.scientific_name, self.common_name)
        clean = all(part and part == part.strip() and part.isprintable() for part in parts)
        return clean and len(self.text) <= MAX_LABEL


def parse_labels(data: bytes, n_classes: int) -> tuple[Label, ...]:
    """Labels of a bundle, in the order of the classes.

    Parameters
    ----------
    data : bytes
        Content of ``labels.txt``: UTF-8, each line ended by LF.
    n_classes : int

    Raises
    ------
    RejectedBundleError
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        _bad_text(f"labels.txt: expected UTF-8, found other bytes at {error.start}")
    if not text.endswith("\n"):
        _bad_text("labels.txt: the last line does not end with a line feed")
    lines = text[:-1].split("\n")
    if len(lines) != n_classes:
        reject(
            Rejection.LABEL_COUNT,
            f"labels.txt: expected {n_classes} labels, found {len(lines)}",
            hint="one line for each class, in their order",
        )
    labels = tuple(Label.parse(line) for line in lines)
    for number, label in enumerate(labels, 1):
        if not label.is_clean:
            _bad_text(f"labels.txt: line {number}: {shown(label.text)} is not a label")
    if len({label.text for label in labels}) != len(labels):
        repeated = next(line for line in lines if lines.count(line) > 1)
        reject(
            Rejection.LABEL_DUPLICATE,
            f"labels.txt: {shown(repeated)} names two classes",
            hint="give every class a name of its own",
        )
    return labels


def write_labels(labels: tuple[str, ...]) -> bytes:
    """Content of ``labels.txt``; `parse_labels` decides whether it is acceptable."""
    return "".join(f"{label}\n" for label in labels).encode("utf-8")


def _bad_text(message: str) -> NoReturn:
    reject(Rejection.LABEL_TEXT, message, hint=LABEL_RULE)
