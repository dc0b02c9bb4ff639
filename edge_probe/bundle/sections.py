"""The sections of a manifest that describe encoder, head and windows, written and read."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edge_probe.bundle.schema import Json, Section, check_rules
from edge_probe.spec import EncoderSpec, TokenBits, TokenGrid, WindowSpec

MAX_RATE_HZ = 1_000_000
MAX_CHUNK_SAMPLES = 2**24
MAX_DIMS = 2**16
MAX_THRESHOLDS = 8
MAX_TOKENS = 2**20
MAX_PROTOTYPES = 2**22
MAX_WINDOW_CHUNKS = 4096
MAX_REFRACTORY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What the head file must contain."""

    kind: Literal["protobin", "protofloat", "mean-linear"]
    token_bits: TokenBits
    n_prototypes: int
    """M; 0 for mean-linear."""
    linear: Literal["int8", "int8-grouped", "int8-sparse", "float32"]
    floor_at_zero: bool = False
    """Whether scores below 0 count as 0; only protofloat says so."""
    n_thresholds: int = 1
    """R, thresholds per token dimension; a manifest names it only where it is above 1."""


def encoder_section(encoder: EncoderSpec, provenance: Mapping[str, Json]) -> dict[str, Json]:
    """What a manifest says about an encoder; `read_encoder` decides whether it is acceptable."""
    grid, edges = encoder.grid, encoder.grid.band_edges_hz
    return {
        "graph": encoder.graph,
        "input": encoder.input_name,
        "output": encoder.output_name,
        "sample_rate_hz": encoder.sample_rate_hz,
        "chunk_samples": encoder.chunk_samples,
        "n_dims": grid.n_dims,
        "n_time": grid.n_time,
        "n_freq": grid.n_freq,
        "start_samples": float(grid.start_samples),
        "step_samples": float(grid.step_samples),
        "band_edges_hz": None if edges is None else [float(edge) for edge in edges],
        "provenance": dict(provenance),
    }


def read_encoder(section: Section) -> tuple[EncoderSpec, dict[str, Json]]:
    """An encoder and its provenance within the limits of the format."""
    limit = float(MAX_CHUNK_SAMPLES)
    spec = EncoderSpec(
        graph=section.text("graph"),
        input_name=section.text("input"),
        output_name=section.text("output"),
        sample_rate_hz=section.integer("sample_rate_hz", 1, MAX_RATE_HZ),
        chunk_samples=section.integer("chunk_samples", 1, MAX_CHUNK_SAMPLES),
        grid=TokenGrid(
            n_dims=section.integer("n_dims", 1, MAX_DIMS),
            n_time=section.integer("n_time", 1, MAX_TOKENS),
            n_freq=section.integer("n_freq", 1, MAX_TOKENS),
            start_samples=section.number("start_samples", -limit, limit),
            step_samples=section.number("step_samples", 2.0**-20, limit),
            band_edges_hz=section.numbers("band_edges_hz", 0.0, float(MAX_RATE_HZ)),
        ),
    )
    provenance = section.section("provenance")
    known: dict[str, Json] = {
        "name": provenance.text("name"),
        "licence": provenance.text("licence"),
    }
    known |= {key: provenance.take(key) for key in provenance.rest()}
    section.finish()
    _check_encoder(spec)
    return spec, known


def _check_encoder(encoder: EncoderSpec) -> None:
    grid, edges = encoder.grid, encoder.grid.band_edges_hz
    ascending = edges is None or all(low < high for low, high in pairwise(edges))
    check_rules([
        (encoder.graph.endswith(".onnx"), "the name of the encoder graph ends in .onnx"),
        (grid.n_tokens <= MAX_TOKENS, f"n_time * n_freq is at most {MAX_TOKENS}"),
        (
            ascending and (edges is None or len(edges) == grid.n_freq + 1),
            "band_edges_hz has n_freq + 1 ascending edges",
        ),
    ])  # fmt: skip


def head_section(head: HeadSpec) -> dict[str, Json]:
    """What a manifest says about a head."""
    section: dict[str, Json] = {
        "kind": head.kind,
        "token_bits": head.token_bits,
        "n_prototypes": head.n_prototypes,
        "linear": head.linear,
    }
    if head.kind == "protofloat":
        section["floor_at_zero"] = head.floor_at_zero
    if head.n_thresholds != 1:
        section["n_thresholds"] = head.n_thresholds
    return section


def read_head(section: Section) -> HeadSpec:
    """A head within the limits of the format."""
    kind = section.choice("kind", ["protobin", "protofloat", "mean-linear"])
    several = kind == "protobin" and "n_thresholds" in section.rest()
    head = HeadSpec(
        kind=kind,
        token_bits=section.choice("token_bits", ["float", *range(1, 9)]),
        n_prototypes=section.integer("n_prototypes", 0, MAX_PROTOTYPES),
        linear=section.choice("linear", ["int8", "int8-grouped", "int8-sparse", "float32"]),
        floor_at_zero=kind == "protofloat" and section.boolean("floor_at_zero"),
        n_thresholds=section.integer("n_thresholds", 2, MAX_THRESHOLDS) if several else 1,
    )
    section.finish()
    return head


def windows_section(windows: WindowSpec) -> dict[str, Json]:
    """What a manifest says about windows."""
    return {
        "window_chunks": windows.window_chunks,
        "hop_chunks": windows.hop_chunks,
        "refractory_s": float(windows.refractory_s),
    }


def read_windows(section: Section) -> WindowSpec:
    """Windows within the limits of the format."""
    windows = WindowSpec(
        window_chunks=section.integer("window_chunks", 1, MAX_WINDOW_CHUNKS),
        hop_chunks=section.integer("hop_chunks", 1, MAX_WINDOW_CHUNKS),
        refractory_s=section.number("refractory_s", 0.0, MAX_REFRACTORY_S),
    )
    section.finish()
    return windows
