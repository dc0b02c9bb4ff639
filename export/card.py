"""The card of a frozen encoder: the facts that its graph does not tell."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge_probe.bundle import RejectedBundleError, files
from edge_probe.bundle.graph import check_graph
from edge_probe.bundle.manifest import MAX_GRAPH_BYTES
from edge_probe.bundle.schema import MAX_TEXT, Json
from edge_probe.errors import EncoderError, first_line
from edge_probe.spec import EncoderSpec, TokenGrid

CARDS = Path(__file__).with_name("cards")

GRAPH_NAME = "encoder.onnx"
"""Of every graph in its bundle."""

_TAKEN_NAMES = {*files.NAMED, files.MANIFEST, files.SIGNATURE, GRAPH_NAME}
"""External data under these names would not survive in a bundle."""

_TEXTS = {"name", "licence", "input", "output"}
_COUNTS = {"sample_rate_hz", "chunk_samples"}
_REQUIRED = _TEXTS | _COUNTS
_OPTIONAL_TEXTS = {"cls"}
_GRID = {"start_samples", "step_samples", "band_edges_hz"}
_STEPS = "steps"


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """An encoder graph and everything a bundle says about it."""

    graph: Path
    spec: EncoderSpec
    provenance: dict[str, Json]
    """name, licence and, where the card has them, ``steps``: what was done to the encoder, in
    order, each with ``what`` and the figures that came of it."""
    external_data: tuple[Path, ...]
    """Files beside the graph that hold some of its weights."""
    cls: str | None = None
    """Graph output of the [cls] token, float32 [1, D_cls]; None where the encoder has none."""


def read_card(graph: Path, card: Path | None = None) -> EncoderCard:
    """Read a card and measure the token map's size by running the graph once.

    Parameters
    ----------
    graph : Path
        ONNX file.
    card : Path, optional
        TOML file; default: the one beside the graph with the same name, else the one that comes
        with edge-probe under that name.

    Raises
    ------
    EncoderError
        No graph or card there, they contradict each other, or a bundle cannot hold the graph.
    """
    if not graph.is_file():
        raise EncoderError(f"{graph}: no such encoder graph", hint="name an ONNX file")
    external_data = _external_data(graph)
    path = card or find_card(graph)
    if path is None:
        raise EncoderError(
            f"{graph}: no card for this encoder",
            hint=f"write {graph.with_suffix('.toml').name} beside it; export/README.md shows one",
        )
    facts = card_facts(path)
    provenance: dict[str, Json] = {"name": facts["name"], "licence": facts["licence"]}
    if _STEPS in facts:
        provenance[_STEPS] = facts[_STEPS]
    return EncoderCard(
        graph,
        EncoderSpec(
            graph=GRAPH_NAME,
            input_name=facts["input"],
            output_name=facts["output"],
            sample_rate_hz=facts["sample_rate_hz"],
            chunk_samples=facts["chunk_samples"],
            grid=_measured_grid(graph, facts),
        ),
        provenance,
        external_data,
        facts.get("cls"),
    )


def facts_of(card: EncoderCard) -> dict[str, Json]:
    """What the card of this encoder says, key by key."""
    spec, grid = card.spec, card.spec.grid
    facts: dict[str, Json] = {
        "name": card.provenance["name"],
        "licence": card.provenance["licence"],
        "sample_rate_hz": spec.sample_rate_hz,
        "chunk_samples": spec.chunk_samples,
        "input": spec.input_name,
        "output": spec.output_name,
        "start_samples": grid.start_samples,
        "step_samples": grid.step_samples,
    }
    if grid.band_edges_hz is not None:
        facts["band_edges_hz"] = list(grid.band_edges_hz)
    if card.cls is not None:
        facts["cls"] = card.cls
    if _STEPS in card.provenance:
        facts[_STEPS] = card.provenance[_STEPS]
    return facts


def write_card(graph: Path, facts: Mapping[str, Json]) -> EncoderCard:
    """Write the card beside a graph, under its name, and read it back.

    Parameters
    ----------
    graph : Path
        The graph, with its external data, is there already.
    facts : mapping
        Keys of a card; ``steps`` is a list of mappings from key to text, number or truth value.

    Raises
    ------
    EncoderError
        As from `read_card`; no card is left behind then.
    """
    path = graph.with_suffix(".toml")
    lines = [f"{key} = {_toml(value)}" for key, value in facts.items() if key != _STEPS]
    for step in facts.get(_STEPS, ()):
        lines += ["", f"[[{_STEPS}]]", *(f"{key} = {_toml(value)}" for key, value in step.items())]
    fresh = path.with_suffix(".toml.part")
    try:
        data = ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as error:
        raise EncoderError(
            f"{path}: a card is UTF-8, and cannot hold {error.object[error.start]!a}",
            hint="give the encoder, and the file it is made from, a name in UTF-8",
        ) from error
    try:
        fresh.write_bytes(data)
        card = read_card(graph, fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return card


def _toml(value: Json) -> str:
    """Texts, numbers, truth values and lists of them are written alike in TOML and JSON.

    But for DEL, which JSON may hold as it is.
    """
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _external_data(graph: Path) -> tuple[Path, ...]:
    """The external data of a graph that a bundle may hold."""
    if graph.stat().st_size > MAX_GRAPH_BYTES:
        raise EncoderError(
            f"{graph}: expected a graph of at most {MAX_GRAPH_BYTES} bytes",
            hint="keep large weights as external data in files beside it",
        )
    beside = {
        path.name: path.stat().st_size
        for path in graph.parent.iterdir()
        if path.is_file() and path.name.casefold() not in _TAKEN_NAMES
    }
    try:
        names = check_graph(graph.read_bytes(), beside)
    except RejectedBundleError as error:
        raise EncoderError(
            f"{graph}: no bundle may hold this graph: {error.message}", hint=error.hint
        ) from error
    return tuple(graph.parent / name for name in sorted(names))


def find_card(graph: Path) -> Path | None:
    """The card beside a graph, else the one that comes with edge-probe, else None."""
    for candidate in (graph.with_suffix(".toml"), CARDS / f"{graph.stem}.toml"):
        if candidate.is_file():
            return candidate
    return None


def card_facts(path: Path) -> dict[str, Any]:
    """What a card says, key by key; raises `EncoderError` where it is none."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EncoderError(f"{path}: {error}", hint="a card is a TOML file") from error
    if problem := _problem(facts):
        raise EncoderError(f"{path}: the card {problem}", hint="export/README.md shows one")
    return facts


def _problem(facts: dict[str, Any]) -> str | None:
    if missing := _REQUIRED - facts.keys():
        return f"lacks {', '.join(sorted(missing))}"
    if unknown := facts.keys() - _REQUIRED - _OPTIONAL_TEXTS - _GRID - {_STEPS}:
        return f"has unknown keys {', '.join(sorted(unknown))}"
    for key, value in facts.items():
        if key in _TEXTS | _OPTIONAL_TEXTS and type(value) is not str:
            return f"gives {key} = {value!r}, not a text"
        if key in _TEXTS and not (0 < len(value) <= MAX_TEXT and value.isprintable()):
            return f"gives {key} = {value!r}, not 1 to {MAX_TEXT} printable characters"
        if key in _COUNTS and not (type(value) is int and value > 0):
            return f"gives {key} = {value!r}, not a whole number above 0"
        if key in _GRID:
            numbers = value if key == "band_edges_hz" else [value]
            if type(numbers) is not list or not all(map(_is_finite, numbers)):
                return f"gives {key} = {value!r}, not finite numbers"
        if key == _STEPS and not (type(value) is list and all(map(_is_step, value))):
            return "has steps that are no tables with a text what and plain figures beside it"
    if facts.get("step_samples", 1) <= 0:
        return f"gives step_samples = {facts['step_samples']}, not above 0"
    edges = facts.get("band_edges_hz", [])
    if min(edges, default=0) < 0 or any(low >= high for low, high in pairwise(edges)):
        return f"gives band_edges_hz = {edges}, not ascending from 0 or more"
    return None


def _is_step(value: object) -> bool:
    return (
        isinstance(value, dict)
        and type(value.get("what")) is str
        and all(type(entry) in (str, bool) or _is_finite(entry) for entry in value.values())
    )


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _measured_grid(graph: Path, facts: dict[str, Any]) -> TokenGrid:
    n_samples = facts["chunk_samples"]
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what fails is told once: by the error
    try:
        session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        feed = {facts["input"]: np.zeros((1, n_samples), np.float32)}
        outputs = [facts["output"], *([facts["cls"]] if "cls" in facts else [])]
        tokens, *cls = session.run(outputs, feed)
    except Exception as error:  # onnxruntime's errors share no base class
        raise EncoderError(
            f"{graph}: does not run as its card says: {first_line(error)}",
            hint="check input, output, cls and chunk_samples of the card",
        ) from error
    if tokens.ndim != 4 or tokens.shape[0] != 1:
        raise EncoderError(
            f"{graph}: expected a token map (1, D, S_t, S_f), found {tokens.shape}",
            hint="name the output that keeps time and frequency",
        )
    for token in cls:
        if token.ndim != 2 or token.shape[0] != 1 or token.dtype != np.float32:
            raise EncoderError(
                f"{graph}: expected a [cls] token float32 (1, D_cls), found {token.dtype} "
                f"{token.shape}",
                hint="name an output that holds one vector for the whole chunk",
            )
    _, n_dims, n_time, n_freq = tokens.shape
    edges = facts.get("band_edges_hz")
    if edges is not None and len(edges) != n_freq + 1:
        raise EncoderError(
            f"{graph}: expected {n_freq + 1} band_edges_hz, found {len(edges)}",
            hint="one edge more than rows of the token map, or none if they are unknown",
        )
    return TokenGrid(
        n_dims, n_time, n_freq,
        float(facts.get("start_samples", 0)),
        float(facts.get("step_samples", n_samples / n_time)),
        None if edges is None else tuple(float(edge) for edge in edges),
    )  # fmt: skip
