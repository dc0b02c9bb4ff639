"""What edge-probe knows about one family of encoders: everything but the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from edge_probe.errors import EncoderError
from export.encoders.front_end import FrontEnd
from export.encoders.grid import Patches
from export.encoders.naming import Named, Naming
from export.foreign.containers import Checkpoint


@dataclass(frozen=True, slots=True)
class Weights:
    """Under which terms the published weights may be used."""

    licence: str
    commercial: Literal["yes", "no", "not stated"]
    source: str
    """Where they are published."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says about the size of a checkpoint; None where the file decides."""

    depth: int | None = None
    heads: int | None = None


class Body(Protocol):
    """The transformer of a family, for any size."""

    @property
    def patches(self) -> Patches:
        """How the spectrogram is cut."""

    @property
    def n_cls(self) -> int:
        """Tokens before those of the patches."""

    def size(self, named: Named, wish: Wish) -> Any:
        """Read the size off the shapes in a file; raises `EncoderError`."""

    def max_columns(self, named: Named) -> int | None:
        """Columns that the positions in a file reach to; None if any number will do."""

    def shapes(self, named: Named, size: Any) -> Mapping[str, tuple[int, ...]]:
        """Every tensor that the body needs, as files hold it, axes of length 1 left out."""

    def build(self, size: Any, n_columns: int, tensors: Mapping[str, Tensor]) -> nn.Module:
        """The body as a module: spectrogram (1, T, F) -> tokens (1, n_cls + S_t * S_f, D)."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family of encoders."""

    title: str
    """As people name it; goes into cards."""
    weights: Weights
    front_end: FrontEnd
    body: Body
    namings: tuple[Naming, ...]
    """The one that knows most of a file's tensors is taken, whatever stands before all of them; it
    must know those of the patches."""
    note: str = ""
    """What a user should know before she trusts it; shown at every conversion."""

    def read(self, checkpoint: Checkpoint) -> Named:
        """Find the naming of a checkpoint.

        Raises
        ------
        EncoderError
            None of the family's fits.
        """
        keys = checkpoint.tensors
        found = [(naming, wrapper) for naming in self.namings for wrapper in naming.wrappers(keys)]
        if found:
            naming, wrapper = max(
                found, key=lambda each: (each[0].inside(each[1]).n_known(keys), -len(each[1]))
            )
            return Named(checkpoint, naming.inside(wrapper))
        marks = [f"{naming.theirs('patch.weight')[0]} ({naming.title})" for naming in self.namings]
        first = sorted(checkpoint.tensors)[:3]
        raise EncoderError(
            f"{checkpoint.path}: no checkpoint of {self.title}: it lacks {' and '.join(marks)}; "
            f"its first keys are {', '.join(first)}",
            hint="name the family that the file belongs to with --family",
        )
