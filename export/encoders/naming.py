"""How the files of a family name their tensors, and the strict way from theirs to ours."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edge_probe.errors import EncoderError
from export.foreign.containers import Checkpoint

_SHOWN = 8
"""Keys that an error lists; more are counted."""


@dataclass(frozen=True, slots=True)
class Naming:
    """One way of naming."""

    title: str
    """Whose way it is, for messages."""
    prefix: str
    """Before each of the keys below."""
    keys: Mapping[str, str | tuple[str, ...]]
    """Theirs by ours; ``#`` is the number of a block. Several are joined along their first axis.
    """
    ignored: str = ""
    """Regular expression of whole keys, prefix included, that a frozen encoder has no use for."""

    def theirs(self, ours: str) -> tuple[str, ...]:
        """The keys that one of our tensors comes from.

        Parameters
        ----------
        ours : str
            Name with the number of its block.
        """
        number = re.search(r"\.(\d+)\.", ours)
        template = ours if number is None else ours.replace(number[0], ".#.", 1)
        if template not in self.keys:  # a whole layer may be named by its stem
            stem, part = template.rsplit(".", 1)
            found = tuple(f"{key}.{part}" for key in _several(self.keys[stem]))
        else:
            found = _several(self.keys[template])
        n = "" if number is None else number[1]
        return tuple(self.prefix + key.replace("#", n) for key in found)

    def wrappers(self, keys: Iterable[str]) -> set[str]:
        """What stands before this naming in a file, such as ``module.``; empty if it is not there.

        Empty text is a wrapper too: the file has our keys as they are.
        """
        (mark,) = self.theirs("patch.weight")
        before = {key.removesuffix(mark) for key in keys if key.endswith(mark)}
        return {wrapper for wrapper in before if not wrapper or wrapper.endswith(".")}

    def inside(self, wrapper: str) -> "Naming":
        """The same naming of a network that is part of a larger one."""
        ignored = f"{re.escape(wrapper)}({self.ignored})"
        return replace(self, prefix=wrapper + self.prefix, ignored=ignored)

    def n_known(self, keys: Mapping[str, object]) -> int:
        """How many of our layers outside the blocks and in the first one a file has tensors of."""
        found = [key.replace("#", "0") for some in self.keys.values() for key in _several(some)]
        parts = ("", ".weight")
        return sum(any(f"{self.prefix}{key}{part}" in keys for part in parts) for key in found)

    def n_blocks(self, keys: Mapping[str, object]) -> int:
        """One more than the highest number of a block."""
        stems = {key.split("#")[0] for some in self.keys.values() for key in _several(some)
                 if "#" in key}  # fmt: skip
        pattern = re.compile("|".join(rf"{re.escape(self.prefix + stem)}(\d+)\." for stem in stems))
        matches = (pattern.match(key) for key in keys)
        return 1 + max((int(match[match.lastindex or 0]) for match in matches if match), default=-1)


def _several(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else keys


@dataclass(frozen=True, slots=True)
class Named:
    """A checkpoint read by one naming."""

    checkpoint: Checkpoint
    naming: Naming

    def shape(self, ours: str) -> tuple[int, ...]:
        """Shape of one of our tensors as the file has it, axes of length 1 left out but for one.

        Raises
        ------
        EncoderError
            The file lacks its key.
        """
        (key, *_) = self.naming.theirs(ours)
        if key not in self.checkpoint.tensors:
            raise EncoderError(
                f"{self.checkpoint.path}: lacks {key}", hint="is it the whole file? copy it again"
            )
        return squeezed(self.checkpoint.tensors[key].shape) or (1,)

    @property
    def n_blocks(self) -> int:
        """Blocks that the file has tensors of."""
        return self.naming.n_blocks(self.checkpoint.tensors)

    def take(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Every tensor that the encoder is made of, as float32.

        Parameters
        ----------
        shapes : mapping of our name to shape
            As the family has them in its files, axes of length 1 left out.

        Raises
        ------
        EncoderError
            Keys are missing, not expected, or of another shape: they are listed.
        """
        wanted = {ours: self.naming.theirs(ours) for ours in shapes}
        self._compare({key for keys in wanted.values() for key in keys})
        wrong = []
        for ours, shape in shapes.items():
            part = squeezed((shape[0] // len(wanted[ours]), *shape[1:]))
            for key in wanted[ours]:
                found = self.checkpoint.tensors[key].shape
                if squeezed(found) != part:
                    wrong.append(f"{key}: expected {_by(part)}, found {_by(found)}")
        if wrong:
            raise EncoderError(
                f"{self.checkpoint.path}: tensors of other shapes than the family's: "
                f"{_listed(wrong, '; ')}",
                hint="name the family that the file belongs to, and its --depth or --heads",
            )
        return {ours: self._joined(wanted[ours], shape) for ours, shape in shapes.items()}

    def _compare(self, wanted: set[str]) -> None:
        found = self.checkpoint.tensors.keys()
        missing = sorted(wanted - found)
        ignored = re.compile(self.naming.ignored)
        unexpected = sorted(key for key in found - wanted if not ignored.fullmatch(key))
        if missing or unexpected:
            lists = [f"lacks {_listed(missing)}"] * bool(missing)
            lists += [f"has also {_listed(unexpected)}"] * bool(unexpected)
            raise EncoderError(
                f"{self.checkpoint.path}: not the tensors of this family ({self.naming.title}): "
                f"{'; it '.join(lists)}",
                hint="is it the whole file, of this family? For another depth say --depth",
            )

    def _joined(self, keys: tuple[str, ...], shape: tuple[int, ...]) -> Tensor:
        parts = [torch.from_numpy(self.checkpoint.array(key)) for key in keys]
        return torch.cat([part.reshape(shape[0] // len(keys), *shape[1:]) for part in parts])


def squeezed(shape: tuple[int, ...] | torch.Size) -> tuple[int, ...]:
    """A shape without its axes of length 1."""
    return tuple(size for size in shape if size != 1)


def _by(shape: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, shape)) or "1"


def _listed(entries: list[str], separator: str = ", ") -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return separator.join(entries[:_SHOWN]) + more
