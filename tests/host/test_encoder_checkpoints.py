"""Checkpoints are read strictly: what is wrong with one is named, and nothing is guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.seeded_encoder import golden, seeded, written_out
from torch import Tensor

from edge_probe.errors import EdgeProbeError
from export.encoders.encoder import Loaded, load_encoder
from export.encoders.families import family
from export.encoders.family import Wish
from export.foreign.containers import read_checkpoint

Tensors = dict[str, Tensor]


def checkpoint(name: str) -> Tensors:
    """A small seeded checkpoint of two blocks."""
    return golden(name).checkpoint("small")


def load(path: Path, name: str, chunk_s: float = 0.32, **wish: int) -> Loaded:
    """Load a file as a member of a family; two blocks unless it is said otherwise."""
    return load_encoder(read_checkpoint(path), family(name), chunk_s, Wish(**{"depth": 2} | wish))


def tokens(loaded: Loaded) -> Tensor:
    """Of a seeded waveform."""
    waveform = torch.from_numpy(
        np.random.default_rng(3).uniform(-0.1, 0.1, (1, loaded.chunk_samples)).astype(np.float32)
    )
    found: Tensor = loaded.module(waveform)[0]
    return found


def saved(path: Path, tensors: Tensors) -> Path:
    """As safetensors."""
    save_file(tensors, path)
    return path


IMAGE = "modality_encoders.IMAGE"


@pytest.mark.parametrize(
    ("name", "key", "shape", "problem"),
    [
        ("eat", "blocks.1.mlp.fc2.bias", None, "lacks blocks.1.mlp.fc2.bias"),
        ("eat", f"{IMAGE}.extra_tokens", None, f"lacks {IMAGE}.extra_tokens"),
        ("eat", "blocks.0.mlp.fc1.bias", None, "lacks blocks.0.mlp.fc1.bias"),
        ("eat", "blocks.2.norm1.bias", (128,), "has also blocks.2.norm1.bias"),
        ("eat", "blocks.1.attn.gate.bias", (128,), "has also blocks.1.attn.gate.bias"),
        (
            "eat",
            "blocks.1.attn.qkv.weight",
            (384, 127),
            "blocks.1.attn.qkv.weight: expected 384 x 128, found 384 x 127",
        ),
        ("eat", f"{IMAGE}.local_encoder.proj.weight", None, "no checkpoint of EAT: it lacks"),
        ("eat", "norm.weight", (128,), "has also norm.weight"),
        ("bat", "student.encoder.blocks.1.attn.gate.weight", None, "lacks student.encoder.bl"),
        ("beats", "encoder.layers.1.self_attn.grep_a", None, "layers.1.self_attn.grep_a"),
        (
            "beats",
            "encoder.layers.1.self_attn.relative_attention_bias.weight",
            (320, 2),
            "differs from encoder.layers.0.self_attn.relative_attention_bias.weight",
        ),
        ("dasheng", "init_bn.1.running_var", None, "lacks init_bn.1.running_var"),
        ("dasheng", "time_pos_embed", (1, 127, 1, 32), "time_pos_embed: expected 128 x 32"),
        ("asit", "backbone.norm.bias", None, "lacks backbone.norm.bias"),
        ("audiomae", "blocks.0.norm2.weight", (5,), "blocks.0.norm2.weight: expected 128, fo"),
    ],
)
def test_what_is_wrong_is_named(
    name: str, key: str, shape: tuple[int, ...] | None, problem: str, tmp_path: Path
) -> None:
    tensors = checkpoint(name)
    if shape is None:
        del tensors[key]
    else:
        tensors[key] = torch.ones(shape)
    with pytest.raises(EdgeProbeError, match=problem.replace(".", r"\.")) as caught:
        load(saved(tmp_path / "wrong.safetensors", tensors), name)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_many_missing_keys_are_counted(tmp_path: Path) -> None:
    tensors = {key: value for key, value in checkpoint("eat").items() if "blocks.1" not in key}
    with pytest.raises(EdgeProbeError, match=r"lacks blocks\.1\.attn\.proj\.bias.* and 4 more"):
        load(saved(tmp_path / "x.safetensors", tensors), "eat")


def test_a_published_width_tells_how_deep_it_must_be(tmp_path: Path) -> None:
    """A file that lost its last blocks altogether is not a smaller encoder."""
    known = golden("asit").facts["sizes"]["small"] | {"D": 384, "H": 64, "depth": 2}
    path = saved(
        tmp_path / "x.safetensors", seeded(written_out(golden("asit").facts["keys"], known))
    )
    with pytest.raises(EdgeProbeError, match=r"lacks backbone\.blocks\.10\.") as caught:
        load_encoder(read_checkpoint(path), family("asit"), 0.32)
    assert "--depth" in str(caught.value.hint)
    assert load(path, "asit").size.heads == 6


@pytest.mark.parametrize("kind", ["safetensors", "pt"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_one_clear_line(kind: str, part: float, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{kind}"
    if kind == "pt":
        torch.save(checkpoint("eat"), whole)
    else:
        save_file(checkpoint("eat"), whole)
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    with pytest.raises(EdgeProbeError, match=r"cut\.(pt|safetensors): not a") as caught:
        load(cut, "eat")
    assert "\n" not in caught.value.message


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    tensors = checkpoint("eat")
    tensors["blocks.0.mlp.fc1.weight"][3, 3] = float("nan")
    with pytest.raises(EdgeProbeError, match=r"blocks\.0\.mlp\.fc1\.weight holds NaN"):
        load(saved(tmp_path / "x.safetensors", tensors), "eat")


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (Path(tmp_path / "run"),)  # type: ignore[return-value]

    torch.save({"model": checkpoint("eat"), "extra": Evil()}, tmp_path / "x.pt")
    with pytest.raises(EdgeProbeError, match="runs no code"):
        load(tmp_path / "x.pt", "eat")
    assert not (tmp_path / "run").exists()


EAT_ON_HUB = {
    "modality_encoders.IMAGE.context_encoder.norm": "pre_norm",
    "modality_encoders.IMAGE.": "",
}


def test_other_ways_of_naming_give_the_same_encoder(tmp_path: Path) -> None:
    tensors = checkpoint("eat")
    expected = tokens(load(saved(tmp_path / "a.safetensors", tensors), "eat"))
    on_hub = {}
    for key, value in tensors.items():
        for theirs, ours in EAT_ON_HUB.items():
            key = key.replace(theirs, ours)
        on_hub[f"model.{key}"] = value
    head = {"head.weight": torch.ones(527, 128), "fc_norm.bias": torch.ones(128)}
    tuned = {f"model.{key}": value for key, value in tensors.items()} | head
    training = {f"{IMAGE}.decoder.blocks.0.0.bias": torch.ones(3), "recon_proj.bias": torch.ones(3)}
    for other in (on_hub, tuned, tensors | training):
        found = tokens(load(saved(tmp_path / "b.safetensors", other), "eat"))
        np.testing.assert_array_equal(found, expected)
    fairseq = {"model": tensors | {"_ema": {"blocks": tensors}}, "cfg": {"model": {}}, "args": None}
    torch.save(fairseq, tmp_path / "c.pt")
    np.testing.assert_array_equal(tokens(load(tmp_path / "c.pt", "eat")), expected)


@pytest.mark.parametrize("name", ["ast", "bat", "eat", "birdmae"])
def test_what_stands_before_all_names_does_not_matter(name: str, tmp_path: Path) -> None:
    tensors = checkpoint(name)
    expected = tokens(load(saved(tmp_path / "a.safetensors", tensors), name))
    wrapped = {f"module.net.{key}": value for key, value in tensors.items()}
    found = load(saved(tmp_path / "b.safetensors", wrapped), name)
    np.testing.assert_array_equal(tokens(found), expected)
    wrapped["other.bias"] = torch.ones(2)
    with pytest.raises(EdgeProbeError, match=r"has also other\.bias"):
        load(saved(tmp_path / "c.safetensors", wrapped), name)


def test_asit_is_its_teacher(tmp_path: Path) -> None:
    tensors = checkpoint("asit")
    student = {f"module.{key}": value + 1 for key, value in tensors.items()}
    head = {"head_cls.mlp.0.weight": torch.ones(2, 2)}
    torch.save({"student": student, "teacher": tensors | head, "epoch": 3}, tmp_path / "x.pth")
    bare = {key.removeprefix("backbone."): value for key, value in tensors.items()}
    expected = tokens(load(saved(tmp_path / "x.safetensors", bare), "asit"))
    np.testing.assert_array_equal(tokens(load(tmp_path / "x.pth", "asit")), expected)


def test_half_precision_is_read_as_what_it_holds(tmp_path: Path) -> None:
    tensors = checkpoint("birdmae")
    half = {key: value.half() for key, value in tensors.items()}
    rounded = {key: value.float() for key, value in half.items()}
    found = tokens(load(saved(tmp_path / "a.safetensors", half), "birdmae"))
    expected = tokens(load(saved(tmp_path / "b.safetensors", rounded), "birdmae"))
    np.testing.assert_array_equal(found, expected)


def test_beats_says_what_it_is(tmp_path: Path) -> None:
    cfg = {"deep_norm": True, "layer_norm_first": False, "max_distance": 800, "dropout": 0.1}
    torch.save({"cfg": cfg, "model": checkpoint("beats")}, tmp_path / "x.pt")
    assert load(tmp_path / "x.pt", "beats").size.heads == 2
    torch.save({"cfg": cfg | {"deep_norm": False}, "model": checkpoint("beats")}, tmp_path / "y.pt")
    with pytest.raises(EdgeProbeError, match="expected a BEATs with deep_norm = True, found False"):
        load(tmp_path / "y.pt", "beats")
    with pytest.raises(EdgeProbeError, match="has 2 heads, not 4"):
        load(tmp_path / "x.pt", "beats", heads=4)


def test_heads_must_divide_the_width(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", checkpoint("eat"))
    with pytest.raises(EdgeProbeError, match="128 does not divide into 3 heads"):
        load(path, "eat", heads=3)
    few, many = tokens(load(path, "eat", heads=1)), tokens(load(path, "eat", heads=4))
    assert not np.allclose(few, many)


def test_chunks_are_as_long_as_positions_reach(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", checkpoint("eat"))
    longest = load(path, "eat", 2.56)
    assert longest.grid.n_time == 16
    with pytest.raises(EdgeProbeError, match=r"17 token columns; .* reach to 16") as caught:
        load(path, "eat", 2.72)
    assert "at most 2.56 s" in str(caught.value.hint)
    with pytest.raises(EdgeProbeError, match="shorter than one token") as caught:
        load(path, "eat", 0.1)
    assert "0.16 s" in str(caught.value.hint)
    odd = load(path, "eat", 0.4)
    assert (odd.grid.n_time, odd.chunk_samples, odd.unheard_samples) == (2, 6400, 1280)
    beats = saved(tmp_path / "y.safetensors", checkpoint("beats"))
    assert load(beats, "beats", 3.2).grid.n_time == 20  # its positions are relative


@pytest.mark.parametrize("name", ["ast", "audiomae", "bat", "ced", "dasheng", "eat"])
def test_a_shorter_chunk_has_the_positions_of_a_beginning(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", checkpoint(name))
    long, short = (load(path, name, chunk_s) for chunk_s in (0.64, 0.32))
    assert long.grid.n_time > short.grid.n_time
    whole, part = long.module.body.positions, short.module.body.positions
    assert isinstance(whole, Tensor)
    assert isinstance(part, Tensor)
    np.testing.assert_array_equal(part, whole[:, : short.grid.n_tokens])


def test_a_column_hears_its_time_and_a_row_its_band(tmp_path: Path) -> None:
    """A click and a tone change the token that the grid says more than any other."""
    loaded = load(saved(tmp_path / "x.safetensors", checkpoint("audiomae")), "audiomae", 0.64)
    grid, rate_hz = loaded.grid, 16_000
    patches = loaded.module.body.patch
    assert isinstance(patches, torch.nn.Conv2d)
    quiet = 1e-3 * np.random.default_rng(1).standard_normal(loaded.chunk_samples)

    def embedded(waveform: Any) -> Tensor:
        image = loaded.module.spectrogram(torch.from_numpy(waveform.astype(np.float32))[None])
        found: Tensor = patches(image[:, None])[0]
        return found

    assert grid.band_edges_hz is not None
    for column, row in ((0, 1), (2, 6), (3, 4)):
        begin, end = grid.columns_samples()[column]
        centre_hz = np.mean(grid.band_edges_hz[row : row + 2])
        sample = np.arange(loaded.chunk_samples)
        burst = np.exp(-0.5 * ((sample - (begin + end) / 2) / 300) ** 2)
        tone = 0.3 * burst * np.sin(2 * np.pi * centre_hz * sample / rate_hz)
        change = (embedded(quiet + tone) - embedded(quiet)).square().sum(dim=0)
        assert divmod(int(change.argmax()), grid.n_freq) == (column, row)
