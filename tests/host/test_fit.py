"""``edge-export fit`` as a user runs it: clips in, a bundle out that hears them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from support.onnx_bytes import node, tiny_encoder
from support.readme_world import make_world
from support.typed import Done, typed

from edge_probe.bundle import open_bundle, selftest
from edge_probe.head import GroupedInt8Linear, Int8Linear, MeanLinearHead, ProtobinHead, backends
from edge_probe.head.native import Matcher
from edge_probe.head.packing import pack_signs
from edge_probe.head.quantize import Digits
from edge_probe.spec import TokenBits
from export.card import CARDS
from export.cli import main
from export.commands.tokens import DEMO_ENCODER

SPECIES = ["Imaginarius ascendens_Rising Warbler", "Imaginarius pulsans_Pulsing Frog"]
N_OTHERS = 2
"""onnxruntime and torch, besides our kernels."""

PARITY_STAGES = {
    "1": ["tokens", *["digits"] * 2, *["scores"] * N_OTHERS, *["logits"] * 2],
    "8": ["tokens", *["digits"] * 2, *["scores"] * N_OTHERS, *["logits"] * 2],
    "float": ["tokens", "digits", *["scores"] * N_OTHERS, *["logits"] * 2],
    "mean-linear": ["tokens", *["logits"] * 2],
}
SOONER = ("--epochs", 15)
"""Half of the usual training, for those who need not be as good as can be."""

QUICK = ("--bits", 1, "--epochs", 2, "--prototypes-per-class", 4)
"""One head, soon, and good for nothing."""


def export(*arguments: object, cwd: Path | None = None) -> Done:
    return typed(main, arguments, cwd)


def start(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """As `export`, in a process of its own."""
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "export", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)} | environment,
    )  # fmt: skip


def refused(done: Done, *expected: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    for text in expected:
        assert text in done.stderr


def known(world: Path) -> tuple[object, ...]:
    """Option: clips that are those of the world were encoded before."""
    return "--cache", world / "token_cache"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    (folder / "random.onnx").write_bytes(tiny_encoder([node("RandomNormalLike", ["x"], "z")]))
    card = (CARDS / "demo_encoder.toml").read_text(encoding="utf-8")
    (folder / "ultrasound.toml").write_text(card.replace("8000.0]", "2e6]"), encoding="utf-8")
    shutil.copytree(folder / "my_clips" / SPECIES[0], folder / "odd_label" / "Strix_")
    return folder


def classify(bundle: Path, audio: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", str(audio), "--json",
         "--bundle", str(bundle)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("precision", ["1", "8", "float", "mean-linear"])
def test_fitted_bundle_hears_what_it_was_taught(world: Path, precision: str) -> None:
    """``night.wav`` holds a rising call in seconds 2-4 and 8-10 and a pulsed one in 6-8."""
    which = "--head" if precision == "mean-linear" else "--bits"
    length = () if precision == "1" else SOONER
    done = export("fit", "my_clips", "--out", precision, "--site-audio", "site", which, precision,
                  *length, cwd=world)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "unreviewed detections on 0.01 h of unlabelled audio, per hour:" in done.stdout
    assert all(name in done.stdout for name in SPECIES)
    bundle = open_bundle(world / precision)
    assert bundle.warnings == ()
    assert [label.text for label in bundle.labels] == SPECIES
    assert all(stage.passed for stage in selftest(bundle))
    if precision == "mean-linear":
        assert isinstance(bundle.head, MeanLinearHead)
    else:
        assert isinstance(bundle.head, ProtobinHead)
        assert isinstance(bundle.head.linear, Int8Linear)
        assert str(bundle.head.bits) == precision
        assert len(bundle.head.prototypes) == 2 * 20
    events = classify(world / precision, world / "night.wav")
    for name, begin_s in (("Rising Warbler", 2), ("Pulsing Frog", 6), ("Rising Warbler", 8)):
        assert any(
            event["common_name"] == name
            and event["start_s"] < begin_s + 2
            and event["end_s"] > begin_s
            for event in events
        ), (name, events)
    parity = export("parity", precision, cwd=world)
    assert parity.returncode == 0, parity.stdout + parity.stderr
    assert "BROKEN" not in parity.stdout
    stages = re.findall("(?:tokens|digits|scores|logits).*$", parity.stdout, re.MULTILINE)
    if isinstance(bundle.head, ProtobinHead):
        for kernel in backends.available(bundle.head.bits, bundle.head.n_dims):
            stages.remove(f"scores: {kernel.name}")
    assert [stage.partition(":")[0] for stage in stages] == PARITY_STAGES[precision]
    on_audio = export("parity", precision, "--audio", "night.wav", cwd=world)
    assert on_audio.returncode == 0
    assert on_audio.stdout.startswith("10 chunks")


def test_parity_sees_a_broken_kernel(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.assemble import conformance_audio
    from export.parity import compare
    from export.tokens import audio_chunks

    assert export("fit", "my_clips", "--out", "whole", *QUICK, cwd=world).returncode == 0
    bundle = open_bundle(world / "whole")
    chunks = audio_chunks(conformance_audio(bundle.encoder), bundle.encoder)
    assert all(stage.passed for stage in compare(bundle, chunks))
    real = backends.available

    def with_a_liar(*arguments: object) -> list[backends.Backend]:
        good = real(*arguments)  # type: ignore[arg-type]

        def prepare(packed: np.ndarray, n_dims: int) -> Matcher:
            def wrong(digits: Digits) -> tuple:
                scores, tokens = good[0].max_scores(digits, packed)
                scores[3] += 2.0 / n_dims
                return scores, tokens

            return wrong

        return [*good, backends.Backend("liar", prepare, good[0].supports)]

    monkeypatch.setattr(backends, "available", with_a_liar)
    broken = [stage.name for stage in compare(bundle, chunks) if not stage.passed]
    assert broken == ["scores: liar"]


@pytest.mark.parametrize("bits", ["float", 1, 2, 4, 8])
@pytest.mark.parametrize("n_dims", [1, 7, 64, 130, 1024])
def test_torch_and_onnxruntime_agree_with_the_kernels(bits: TokenBits, n_dims: int) -> None:
    """The other implementations are right on tokens of any loudness, so a difference means us."""
    from export.parity import onnx_digits, onnx_scores, torch_digits, torch_scores

    rng = np.random.default_rng([n_dims])
    loudness = rng.choice([1e-42, 1e-20, 1.0, 1e20, 1e37], (12, 1)).astype(np.float32)
    tokens = rng.normal(size=(12, n_dims)).astype(np.float32) * loudness
    tokens[3] = 0
    valid = np.arange(12) != 5
    head = ProtobinHead(
        pack_signs(rng.normal(size=(9, n_dims))), np.zeros(n_dims, np.float32), bits,
        Int8Linear.from_float(rng.normal(size=(2, 9)), np.zeros(2)), np.zeros(9, np.float32),
    )  # fmt: skip
    digits = head.digits(tokens, valid)
    scores = head.summarise(tokens, valid).scores
    if bits != "float":
        assert (torch_digits(head, tokens).numpy() == digits.values).all()
        assert (onnx_digits(head)(tokens).values == digits.values).all()
        assert (onnx_scores(head)(digits) == scores).all()
    np.testing.assert_allclose(onnx_scores(head)(digits), scores, atol=1e-6)
    np.testing.assert_allclose(torch_scores(head, tokens, valid), scores, atol=1e-6)


def test_torch_sums_class_bound_layers_as_we_do() -> None:
    from export.parity import torch_logits

    rng = np.random.default_rng(1)
    rows = Int8Linear.from_float(rng.normal(size=(3, 20)), rng.normal(size=3))
    scores = rng.uniform(-1, 1, 60).astype(np.float32)
    head = ProtobinHead(
        pack_signs(rng.normal(size=(60, 8))), np.zeros(8, np.float32), 1,
        GroupedInt8Linear(rows.weights, rows.scale, rows.bias), np.zeros(60, np.float32),
    )  # fmt: skip
    assert torch_logits(head, scores).tobytes() == head.linear.logits(scores).tobytes()


def test_encoder_with_external_data_goes_from_fit_to_selftest(world: Path) -> None:
    import onnx

    (world / "split").mkdir()
    onnx.save_model(
        onnx.load(DEMO_ENCODER), world / "split" / "demo_encoder.onnx",
        save_as_external_data=True, location="weights.bin", size_threshold=1024,
    )  # fmt: skip
    encoder = world / "split" / "demo_encoder.onnx"
    done = export("fit", "my_clips", "--out", "ext", "--encoder", encoder, *QUICK, cwd=world)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(world / "ext")
    assert (bundle.path / "weights.bin").stat().st_size > 10 * bundle.graph_path.stat().st_size
    assert all(stage.passed for stage in selftest(bundle))


def test_background_is_wanted_or_waived_for_ever(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "my_clips", tmp_path / "clips")
    shutil.rmtree(tmp_path / "clips" / "Background")
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "b", cwd=tmp_path)
    refused(done, "no background clips", "--no-background")
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "token_cache").exists() or not list(
        (tmp_path / "token_cache").rglob("*.safetensors")
    )
    waived = export(
        "fit", tmp_path / "clips", "--out", tmp_path / "b", "--no-background", *QUICK,
        *known(world), cwd=tmp_path,
    )  # fmt: skip
    assert waived.returncode == 0, waived.stderr
    bundle = open_bundle(tmp_path / "b")
    assert bundle.manifest.training["no_background"] is True
    loaded = subprocess.run(
        [sys.executable, "-m", "edge_probe", "classify", str(world / "night.wav"),
         "--bundle", str(tmp_path / "b")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "background" in loaded.stderr


def test_existing_bundle_is_kept_unless_told_otherwise(world: Path) -> None:
    """Replaced, it is the same again but for its date: the seed decides everything.

    The second time in a process that has done other things before.
    """

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (world / "kept").iterdir()}

    def model(files: dict[str, bytes]) -> dict[str, bytes]:
        return {name: data for name, data in files.items() if not name.startswith("manifest")}

    assert start("fit", "my_clips", "--out", "kept", *QUICK, cwd=world).returncode == 0
    before = content()
    refused(export("fit", "my_clips", "--out", "kept", *QUICK, cwd=world), "--replace")
    assert content() == before
    again = export("fit", "my_clips", "--out", "kept", "--replace", *QUICK, cwd=world)
    assert again.returncode == 0
    assert model(content()) == model(before)
    assert content() != before


def test_unreadable_clips_are_named_and_left_out(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "my_clips", tmp_path / "clips")
    (tmp_path / "clips" / SPECIES[0] / "notes.wav").write_text("heard at dawn")
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "b", *QUICK, *known(world),
                  cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    assert "notes.wav" in done.stderr
    shutil.rmtree(tmp_path / "clips" / SPECIES[1])
    (tmp_path / "clips" / SPECIES[1]).mkdir()
    (tmp_path / "clips" / SPECIES[1] / "notes.wav").write_text("heard at dusk")
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "c", *QUICK, *known(world),
                  cwd=tmp_path)  # fmt: skip
    refused(done, f"no readable clip of {SPECIES[1]}", "notes.wav")
    shutil.rmtree(tmp_path / "clips" / SPECIES[1])
    for path in (tmp_path / "clips" / "Background").iterdir():
        path.write_text("silence")
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "c", *QUICK, *known(world),
                  cwd=tmp_path)  # fmt: skip
    refused(done, "no readable clip of Background")


def test_clips_for_the_test_are_not_learned_from(world: Path, tmp_path: Path) -> None:
    """All of the background is for the test: there is none to learn from, which is refused."""
    lines = [
        f"{path},{folder.name},{'test' if folder.name == 'Background' else ''}\n"
        for folder in (world / "my_clips").iterdir()
        for path in folder.iterdir()
    ]
    (tmp_path / "clips.csv").write_text("file,label,split\n" + "".join(lines), encoding="utf-8")
    done = export("fit", "clips.csv", "--out", "b", *QUICK, cwd=tmp_path)
    refused(done, "no background clips")


def test_a_recording_in_the_folders_of_two_classes_is_refused(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "my_clips", tmp_path / "clips")
    copy = tmp_path / "clips" / SPECIES[1] / "copy.wav"
    shutil.copy(tmp_path / "clips" / SPECIES[0] / "recording0.wav", copy)
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "b", *QUICK, cwd=tmp_path)
    refused(done, f"recording0.wav holds {SPECIES[0]}", "both are the same audio", "CSV manifest")


def test_labels_are_utf8_in_any_locale(world: Path, tmp_path: Path) -> None:
    """File names too."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    name = "Imaginária_Hühnchen"
    rows = [
        f"{path},{name if path.parent.name == SPECIES[0] else path.parent.name}\n"
        for path in sorted((world / "my_clips").rglob("*.wav"))
    ]
    table = tmp_path / "clips.csv"
    table.write_text("file,label\n" + "".join(rows), encoding="utf-8")
    done = start("fit", table, "--out", "b", "--site-audio", world / "site", *QUICK,
                 *known(world), cwd=tmp_path, **ascii_only)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [label.text for label in open_bundle(tmp_path / "b").labels] == [SPECIES[1], name]
    (tmp_path / "clips" / name).mkdir(parents=True)
    shutil.copy(world / "night.wav", tmp_path / "clips" / name / "a.wav")
    done = start("tokens", "clips", cwd=tmp_path, **ascii_only)
    assert done.returncode == 0, done.stderr


def noise(folder: Path, *names: str) -> None:
    """Clips of white noise: there is nothing to learn from them."""
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / name, rng.normal(0, 0.1, 30_000), 16_000)


def held_out_of(bundle: Path) -> object:
    return open_bundle(bundle).manifest.training["held_out_accuracy"]


def test_two_clips_are_enough_to_run(tmp_path: Path) -> None:
    """Nobody should deploy this; it must not crash, nor call what it heard held out."""
    noise(tmp_path / "clips", "Owl/x.wav", "Background/x.wav")
    done = export("fit", tmp_path / "clips", "--out", tmp_path / "b", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert held_out_of(tmp_path / "b") is None
    assert "held out" not in done.stdout
    (warning,) = (line for line in done.stderr.splitlines() if "could be held out" in line)
    assert "thresholds come from clips that the head has heard" in warning


def test_clips_of_one_name_are_still_judged_unheard(tmp_path: Path) -> None:
    """clip_0.wav in every folder was one recording, and noise was named right every time."""
    folders = ("Owl", "Wren", "Background")
    noise(tmp_path / "clips", *(f"{name}/clip_{n}.wav" for name in folders for n in range(6)))
    done = export("fit", "clips", "--out", "b", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(held_out_of(tmp_path / "b")) < 0.9  # type: ignore[arg-type]
    assert "WARNING: clips: by their names all clips" in done.stderr
    assert "could be held out" not in done.stderr


def test_class_of_one_recording_is_not_judged(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "my_clips", tmp_path / "clips")
    for path in sorted((tmp_path / "clips" / SPECIES[1]).iterdir()):
        path.rename(path.with_name(f"frog_{path.name}"))
    done = export("fit", "clips", "--out", "b", *QUICK, *known(world), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"no clip of {SPECIES[1]} could be held out" in done.stderr
    bundle = open_bundle(tmp_path / "b")
    assert bundle.threshold_on[0] == bundle.threshold_on[1]
    assert bundle.threshold_off[0] == bundle.threshold_off[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nowhere",), "no such folder or table"),
        (("my_clips", "--encoder", "none.onnx"), "no such encoder graph"),
        (("my_clips", "--hop-chunks", 3), "longer than a window"),
        (("my_clips", "--channel", 5), "channel"),
        (("my_clips", "--site-audio", "nowhere"), "nowhere"),
        (("my_clips", "--refractory-s", "nan"), "refractory"),
        (("my_clips", "--name", "has spaces"), "name"),
        (("my_clips", "--encoder", "random.onnx"), "E53"),
        (("my_clips", "--card", "ultrasound.toml"), "band_edges_hz"),
        (("odd_label",), "is no name of a class"),
        (("my_clips", "--head", "mean-linear", "--bits", 8), "--head protobin"),
        (("my_clips", "--head", "mean-linear", "--linear", "int8"), "--head protobin"),
        (("my_clips", "--class-bound", "--linear", "float32"), "leave one of"),
        (("my_clips", "--no-offset"), "choose --bits 4, 8 or float"),
    ],
)
def test_bad_input_is_one_line_and_comes_before_the_work(
    world: Path, arguments: tuple[object, ...], expected: str
) -> None:
    done = export("fit", *arguments, "--out", "refused", cwd=world)
    refused(done, expected)
    assert not (world / "refused").exists()
    assert "head:" not in done.stderr  # the name of the progress bar of training


@pytest.mark.parametrize(
    ("option", "value", "limits"),
    [
        ("--seed", "-1", "from 0 to 4294967295"),
        ("--seed", "4294967296", "from 0 to 4294967295"),
        ("--epochs", "10001", "from 1 to 10000"),
        ("--epochs", "0", "from 1 to 10000"),
        ("--prototypes-per-class", "1" * 5000, "from 1 to 10000"),
        ("--prototypes-per-class", "many", "from 1 to 10000"),
    ],
)
def test_numbers_beyond_reason_are_usage_errors(option: str, value: str, limits: str) -> None:
    done = export("fit", "clips", "--out", "b", f"{option}={value}")
    assert done.returncode == 2
    assert limits in done.stderr
