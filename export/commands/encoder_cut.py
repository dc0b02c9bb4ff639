"""``edge-export encoder cut``: bring your own ONNX."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_probe.errors import EdgeProbeError
from export.commands.encoder_arguments import new_file, words
from export.commands.tokens import whole_number

if TYPE_CHECKING:
    from export.encoders.cut import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cut``."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL.onnx", help="graph whose only input is the waveform"
    )
    parser.add_argument(
        "--tokens", metavar="NODE",
        help="the value, or the node that makes it, that becomes the token map; left out: list "
        "what there is",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.onnx", help="default: MODEL_NODE.onnx")
    facts = parser.add_argument_group(
        "facts", "that the graph does not tell; taken from its card where there is one"
    )
    facts.add_argument("--card", type=Path, metavar="FILE.toml", help="default: the one beside it")
    facts.add_argument("--sample-rate-hz", type=whole_number(1_000, 1_000_000), metavar="R")
    facts.add_argument(
        "--chunk-samples", type=whole_number(1, 2**24), metavar="N",
        help="of a chunk, where the graph takes any",
    )  # fmt: skip
    facts.add_argument("--name", type=words, help="of the encoder")
    facts.add_argument("--licence", type=words, help="of its weights")


def run(args: argparse.Namespace) -> int:
    """List maps, or cut at one."""
    from export.encoders.cut import cut

    facts = _facts(args)
    if args.tokens is None:
        _list(args.model, facts)
        return 0
    for key in ("name", "licence"):
        if key not in facts:
            raise EdgeProbeError(
                f"{args.model}: nothing says its {key}", hint=f"say --{key}, or give a --card"
            )
    usual = args.model.with_name(f"{args.model.stem}_{_bare(args.tokens)}.onnx")
    out = new_file(args.out or usual)
    card, layout = cut(args.model, args.tokens, out, facts)
    _show(layout, card.spec.sample_rate_hz)
    print(f"encoder   {out}, card {out.with_suffix('.toml').name}")
    return 0


def _facts(args: argparse.Namespace) -> dict[str, Any]:
    """From the card and the options; options win."""
    from export.card import card_facts, find_card

    path = args.card or find_card(args.model)
    facts = card_facts(path) if path else {}
    for key in ("input", "output", "cls", "start_samples", "step_samples", "band_edges_hz"):
        facts.pop(key, None)  # of another map, perhaps: this one is measured
    for key in ("sample_rate_hz", "chunk_samples", "name", "licence"):
        if (value := getattr(args, key)) is not None:
            facts[key] = value
    if "sample_rate_hz" not in facts:
        raise EdgeProbeError(
            f"{args.model}: nothing says the rate of its waveform",
            hint="say --sample-rate-hz R, or give a --card",
        )
    return facts


def _bare(node: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in node)[-40:]


def _list(model: Path, facts: dict[str, Any]) -> None:
    from export.encoders.candidates import candidates
    from export.encoders.model import load_model

    rate_hz, n_samples = facts["sample_rate_hz"], facts.get("chunk_samples")
    head = f"{'D x S_t x S_f':>15}  {'below 0':>7}  {'ms':>7}  {'shape':<20}  value\n"
    for found in candidates(load_model(model), rate_hz, n_samples):
        print(head, end="")  # not above an error
        head = ""
        sizes = " x ".join(map(str, found.sizes)) if found.sizes else "-"
        shape = "x".join(map(str, found.shape))
        problem = f"  ({found.problem})" if found.problem else ""
        print(
            f"{sizes:>15}  {found.negative:>7.0%}  {found.ms:>7.1f}  {shape:<20}  "
            f"{found.value}{problem}"
        )
    print(
        "\nms for one chunk on one core of this machine. Prototypes of ±1 do best on signed maps."
    )


def _show(layout: "Layout", rate_hz: int) -> None:
    dims, n_time, n_freq = layout.sizes
    print(f"tokens    D {dims}, S_t {n_time}, S_f {n_freq}; in the graph {list(layout.shape)}")
    print(
        f"columns   {layout.step_samples / rate_hz * 1e3:.1f} ms apart, the first begins at "
        f"{layout.start_samples / rate_hz * 1e3:.1f} ms"
    )
    if layout.band_edges_hz is not None:
        edges = ", ".join(f"{edge:.0f}" for edge in layout.band_edges_hz)
        print(f"rows      edges {edges} Hz" + (", turned over" if layout.turned_over else ""))
    elif n_freq > 1:
        print("rows      their bands cannot be told; detections will have no low_hz and high_hz")
