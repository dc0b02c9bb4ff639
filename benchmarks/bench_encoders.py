"""Forms of encoders: what they lose, what they cost, what chunking costs. An hour or two.

``python benchmarks/bench_encoders.py SHARED_DATA``: SHARED_DATA holds ``encoders`` and ``esc10``.
Two transformers with random weights, of published sizes, are measured for memory and time only;
five public encoders are cut, and each of their forms is judged on ESC-10 (folds 1 to 4), whether
it passes the gate or not. What is in the results already is not measured again.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import form_tables  # noqa: E402
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import table  # noqa: E402
from machine import machine  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from speech_tokens import join  # noqa: E402
from support.seeded_encoder import golden, seeded, written_out  # noqa: E402

from edge_probe.encoder import Encoder  # noqa: E402
from export.card import EncoderCard, card_facts, facts_of, write_card  # noqa: E402
from export.cli import main as edge_export  # noqa: E402
from export.clips import ClipSet, read_clips  # noqa: E402
from export.commands.tokens import DEMO_ENCODER  # noqa: E402
from export.encoders.calibration_chunks import calibration_chunks  # noqa: E402
from export.encoders.chunk_report import chunk_report  # noqa: E402
from export.encoders.cosine import cosines  # noqa: E402
from export.encoders.cut import cut  # noqa: E402
from export.encoders.fidelity import BUDGET_POINTS, compare  # noqa: E402
from export.encoders.lengths import allowed_within  # noqa: E402
from export.encoders.low_memory import write_pair  # noqa: E402
from export.encoders.profile import profile  # noqa: E402
from export.encoders.quantise import quantise, suited  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "encoder_forms.json"

TRANSFORMERS = {
    "ViT-B, 5.12 s (random weights)": ("eat", {}),
    "ViT-Tiny, 5.12 s (random weights)": ("ced", {"D": 192, "H": 768, "heads": 3}),
}
"""Family whose layout the checkpoint has, and sizes that differ from its golden file."""

PUBLIC: dict[str, tuple[Path | str, str, Path]] = {
    "demo": (DEMO_ENCODER, "tokens", ROOT / "export/cards/demo_encoder.toml"),
    "YAMNet": ("yamnet_encoder_w8.onnx", "t266", ROOT / "export/cards/yamnet_encoder_w8.toml"),
    "Whisper-tiny": (
        "whisper_tiny_en_encoder_f16w.onnx", "t330",
        ROOT / "export/cards/whisper_tiny_en_encoder_f16w.toml",
    ),
    "speech_embedding": (
        "speech.onnx", "embedding_conv2d_19", ROOT / "benchmarks/cards/speech_tokens.toml"
    ),
    "BirdNET-STM32": (
        "birdnet_stm32n6_100_encoder.onnx", "t203",
        ROOT / "export/cards/birdnet_stm32n6_100_encoder.toml",
    ),
    "BirdNET 2.4": (
        "birdnet24_encoder.onnx", "Relu__92:0", ROOT / "benchmarks/cards/birdnet24.toml"
    ),
}  # fmt: skip
"""File, the value that becomes the token map, card with rate and chunk."""

CAPS_MIB = (350, 180, 130, 100)

LAYOUT = {"input", "output", "cls", "start_samples", "step_samples", "band_edges_hz"}


class Results:
    """The JSON file, written after each figure."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def part(self, section: str, name: str, measure: Callable[[], Any]) -> None:
        """Measure what is not there yet."""
        if name in self._read().get(section, {}):
            return
        print(f"{section}: {name}", file=sys.stderr, flush=True)
        figures = measure()
        parts = self._read()  # anew: another process may have measured something meanwhile
        parts.setdefault(section, {})[name] = figures
        text = json.dumps(parts | {"machine": machine()}, indent=1, ensure_ascii=False)
        self._path.write_text(text + "\n", encoding="utf-8")
        table.put(form_tables.README, form_tables.render(self._read()))

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return found


def form(card: EncoderCard, out: Path, make: Callable[[Path], None]) -> EncoderCard:
    """Another form of an encoder, whatever it is worth."""
    if not out.exists():
        make(out)
    return write_card(out, facts_of(card))


def converted(name: str, folder: Path) -> EncoderCard:
    """A transformer with random weights, by the command for checkpoints."""
    family, sizes = TRANSFORMERS[name]
    facts = golden(family).facts
    sizes = facts["sizes"]["full"] | sizes
    graph = folder / f"{family}.onnx"
    if not graph.exists():
        checkpoint = folder / f"{family}.safetensors"
        save_file(seeded(written_out(facts["keys"], sizes)), checkpoint)
        done = edge_export([
            "encoder", "convert", str(checkpoint), "--family", family, "--chunk-s", "5.12",
            "--depth", str(sizes["depth"]), "--heads", str(sizes["heads"]), "--out", str(graph),
        ])  # fmt: skip
        if done:
            raise SystemExit(done)
    return write_card(graph, card_facts(graph.with_suffix(".toml")))


def transformer(name: str, folder: Path) -> dict[str, Any]:
    """int8, low-memory pair, memory and time."""
    card = converted(name, folder)
    stem = card.graph.stem
    int8 = form(card, folder / f"{stem}_int8.onnx", lambda p: quantise(card, p, "dynamic", list))
    low = form(int8, folder / f"{stem}_low.onnx", lambda p: write_pair(int8, p))
    rng = np.random.default_rng(0)
    chunk = 0.1 * rng.normal(size=card.spec.chunk_samples).astype(np.float32)
    plain, small = (
        Encoder(each.graph, each.spec, profile="low-memory").tokens(chunk) for each in (card, low)
    )
    alike = cosines(plain, small)
    return {
        "float_file_mib": round(sum(f.stat().st_size for f in files(card)) / 2**20, 1),
        "token_cosine_mean": round(float(alike.mean()), 6),
        "token_cosine_min": round(float(alike.min()), 6),
        **costs(low),
    }


def costs(card: EncoderCard) -> dict[str, Any]:
    """Memory and time, with and without caps."""
    return profile(card, CAPS_MIB, n_chunks=10).figures()


def files(card: EncoderCard) -> list[Path]:
    """Graph and data."""
    return [card.graph, *card.external_data]


def public(name: str, data: Path, folder: Path) -> EncoderCard:
    """A public encoder, cut by our command's code."""
    file, value, toml = PUBLIC[name]
    source = file if isinstance(file, Path) else data / "encoders" / file
    if file == "speech.onnx":
        source = folder / "speech.onnx"
        parts = data / "encoders"
        join(parts / "speech_melspectrogram.onnx", parts / "speech_embedding.onnx", source)
    facts = {key: value for key, value in card_facts(toml).items() if key not in LAYOUT}
    out = folder / f"{name.replace(' ', '_')}.onnx"
    if out.exists():
        return write_card(out, card_facts(out.with_suffix(".toml")))
    return cut(source, value, out, facts)[0]


def judged(before: EncoderCard, after: EncoderCard, clips: ClipSet, cache: Path) -> dict[str, Any]:
    """Figures of one form, and whether the gate lets it through."""
    fidelity = compare(before, after, clips, cache)
    passes = fidelity.loss_points <= BUDGET_POINTS
    size = round(sum(path.stat().st_size for path in files(after)) / 2**20, 2)
    return {"passes": passes, "file_mib": size} | fidelity.figures()


def public_forms(name: str, data: Path, folder: Path, results: Results) -> None:
    """int8 and low-memory forms of one public encoder."""
    clips, cache = read_clips(data / "esc10/audio"), folder / "cache"
    card = public(name, data, folder)
    stem, method = card.graph.stem, suited(onnx.load(card.graph))
    int8 = form(
        card, folder / f"{stem}_int8.onnx",
        lambda p: quantise(card, p, method, lambda: calibration_chunks(clips, card.spec)),
    )  # fmt: skip
    low = form(card, folder / f"{stem}_low.onnx", lambda p: write_pair(card, p))
    int8_low = form(int8, folder / f"{stem}_int8_low.onnx", lambda p: write_pair(int8, p))
    for what, made in ((f"int8, {method}, low-memory", int8_low), ("low-memory", low)):
        results.part("fidelity", f"{name}: {what}", partial(judged, card, made, clips, cache))
        results.part("profile", f"{name}: {what}", partial(costs, made))


def chunking(name: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    """Chunk lengths of an encoder that takes any."""
    card = public(name, data, folder)
    cards = allowed_within(card, 5.0)
    rows = chunk_report(cards, read_clips(data / "esc10/audio"), folder / "cache")
    return [
        {
            "chunk_s": round(row.chunk_s, 3), "window_chunks": row.window_chunks,
            "map_of_heads_taught_on_windows": round(row.map_long, 2),
            "map_of_heads_taught_on_chunks": round(row.map_own, 2),
            "ms_per_s": round(row.ms_per_s, 2),
        }
        for row in rows
    ]  # fmt: skip


def main() -> int:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with encoders and esc10")
    parser.add_argument("--work", type=Path, help="where forms and tokens are kept between runs")
    parser.add_argument("--only", help="public encoders and transformers with this in their name")
    args = parser.parse_args()
    results = Results(RESULTS)
    wanted = [name for name in (*TRANSFORMERS, *PUBLIC) if (args.only or "") in name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            if name in TRANSFORMERS:
                results.part(
                    "profile", f"{name}: int8, dynamic, low-memory",
                    partial(transformer, name, folder),
                )  # fmt: skip
            else:
                public_forms(name, args.data, folder, results)
        for name in ("YAMNet", "Whisper-tiny"):
            if name in wanted:
                results.part("chunks", name, partial(chunking, name, args.data, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
