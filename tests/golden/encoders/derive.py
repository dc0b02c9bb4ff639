"""Compute the golden tokens of this folder once more, with the code of the encoders' authors.

    PYTHONPATH=.:tests python tests/golden/encoders/derive.py OFFICIAL [FAMILY ...]

OFFICIAL holds checkouts of their repositories in folders EAT, BAT, dasheng, SSLAM (of that its
Pre-Training/SSLAM_Stage2) and unilm (of that beats); einops must be installed, for AST also
transformers. Only code under MIT, Apache or BSD licences is run. Where there is none, the plain
transformer in tests/support/plain_vit.py has the word. No test needs any of this.
"""

import argparse
import importlib
import json
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.plain_vit import plain_tokens
from support.seeded_encoder import GOLDEN, Golden, digest, golden, places, seeded
from torch import Tensor, nn

N_VALUES = 192
Tensors = dict[str, Tensor]
Sizes = Mapping[str, int]
Run = Callable[[Path, Tensors, Tensor, Sizes], Any]
"""OFFICIAL, checkpoint, spectrogram (T, F), sizes -> tokens (n, D) without [cls], time-major."""


def main() -> None:
    """Rewrite the vectors of the families that are named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("official", type=Path)
    parser.add_argument("families", nargs="*", default=sorted(RUNS))
    args = parser.parse_args()
    for name in args.families:
        _stand_ins()
        source, run = RUNS[name]
        facts = golden(name).facts
        facts["source"] = source
        facts["vectors"] = {
            size: _vectors(Golden(name, facts), size, args.official, run)
            for size in ("small", "full")
        }
        _write(GOLDEN / f"{name}.json", facts)
        print(name, [vectors["shape"] for vectors in facts["vectors"].values()])


def _vectors(known: Golden, size: str, official: Path, run: Run) -> dict[str, Any]:
    tensors = seeded(known.shapes(size))
    with torch.no_grad():
        tokens = run(official, dict(tensors), torch.from_numpy(known.spectrogram(size)),
                     known.facts["sizes"][size])  # fmt: skip
    values = np.asarray(tokens, np.float64)
    chosen = values.ravel()[places(values.shape, N_VALUES)]
    return {
        "checkpoint_sha256": digest(tensors),
        "shape": list(values.shape),
        "tokens": [float(f"{value:.8g}") for value in chosen],
    }


def _write(path: Path, facts: dict[str, Any]) -> None:
    """JSON with a line for each key of the checkpoint."""
    keys = ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(shape)}" for key, shape in facts["keys"].items()
    )
    rest = [f' "{part}": {{\n' + ",\n".join(f'  "{size}": {json.dumps(facts[part][size])}'
                                            for size in facts[part]) + "\n }"
            for part in ("sizes", "vectors")]  # fmt: skip
    head = [f' "{part}": {json.dumps(facts[part])}' for part in ("source", "naming")]
    parts = [*head, f' "keys": {{\n{keys}\n }}', *rest]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _stand_ins() -> None:
    """Empty modules for what the authors' files import and their networks do not need."""
    for name in ("fairseq", "fairseq.modules", "fairseq.dataclass", "fairseq.models", "timm",
                 "fairseq.models.wav2vec", "fairseq.models.wav2vec.wav2vec2", "timm.models",
                 "timm.models.layers", "timm.models.vision_transformer", "torchaudio",
                 "torchaudio.transforms", "torchaudio.compliance",
                 "torchaudio.compliance.kaldi"):  # fmt: skip
        sys.modules[name] = _Anything(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    torch.Callable = Callable  # type: ignore[attr-defined]  # Dasheng names it so
    sys.modules["timm.models.vision_transformer"].Mlp = _Mlp  # type: ignore[attr-defined]


class _Anything(types.ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(
            name, (nn.Module,), {"__init__": lambda self, *_, **__: nn.Module.__init__(self)}
        )


class _Mlp(nn.Module):
    """timm's, which EAT's blocks import."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        act_layer: Callable[[], nn.Module],
        drop: float,
    ) -> None:
        super().__init__()
        self.fc1, self.act = nn.Linear(in_features, hidden_features), act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


def _import(folder: Path, module: str) -> Any:
    """Import a module of a checkout, without what its package would import beside it."""
    top, *inner = module.split(".")
    for name in [name for name in sys.modules if name.split(".")[0] == top]:
        del sys.modules[name]
    if inner:
        package = types.ModuleType(top)
        package.__path__ = [str(folder / top)]
        sys.modules[top] = package
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(folder))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _eat(folder: str) -> Run:
    def run(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Tensor:
        modules = _import(official / folder, "models.modules")
        front = "modality_encoders.IMAGE."
        norm = _ready(nn.LayerNorm(sizes["D"], eps=1e-6), tensors, f"{front}context_encoder.norm.")
        patch = _ready(nn.Conv2d(1, sizes["D"], 16, 16), tensors, f"{front}local_encoder.proj.")
        x = patch(image[None, None]).flatten(2).transpose(1, 2)
        x = x + tensors[f"{front}fixed_positional_encoder.positions"][:, : x.shape[1]]
        x = norm(torch.cat([tensors[f"{front}extra_tokens"], x], dim=1))
        for n in range(sizes["depth"]):
            block = modules.AltBlock(
                sizes["D"], sizes["heads"], qkv_bias=True, layer_norm_first=False,
                norm_layer=lambda dim: nn.LayerNorm(dim, eps=1e-6),
            )  # fmt: skip
            x, _ = _ready(block, tensors, f"blocks.{n}.")(x)
        return x[0, 1:]  # type: ignore[no-any-return]

    return run


def _ready(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> Any:
    module.load_state_dict(_below(tensors, prefix))
    return module.eval()


def _bat(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Tensor:
    vit = _import(official / "BAT", "models.vit")
    network = vit.ViT(
        num_classes=1, input_shape=tuple(image.shape), dim=sizes["D"], depth=sizes["depth"],
        num_heads=sizes["heads"], head="protobin", num_prototypes=1,
    )  # fmt: skip
    encoder = network.state_dict() | _below(tensors, "student.encoder.")
    network.load_state_dict(encoder)
    last = network.eval().extract_features_with_patch_tokens(image[None, None])["patch_tokens"][-1]
    return last[0].flatten(1).T  # type: ignore[no-any-return]


def _beats(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Tensor:
    _import(official / "unilm", "modules")
    _import(official / "unilm", "backbone")
    beats = _import(official / "unilm", "BEATs")
    published = {
        "input_patch_size": 16, "embed_dim": sizes["P"], "encoder_layers": sizes["depth"],
        "encoder_embed_dim": sizes["D"], "encoder_ffn_embed_dim": sizes["H"],
        "encoder_attention_heads": sizes["heads"], "deep_norm": True, "gru_rel_pos": True,
        "relative_position_embedding": True, "num_buckets": 320, "max_distance": 800,
        "conv_pos": sizes["K"], "conv_pos_groups": sizes["D"] // sizes["G"],
    }  # fmt: skip
    network = beats.BEATs(beats.BEATsConfig(published))
    network.load_state_dict(tensors)
    network.preprocess = lambda source, **_: source
    return network.eval().extract_features(image[None])[0][0]  # type: ignore[no-any-return]


def _dasheng(patch: tuple[int, int], prefix: str = "") -> Run:
    def run(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Tensor:
        found = _import(official / "dasheng", "dasheng.pretrained.pretrained")
        network = found.Dasheng(
            patch_size=patch, patch_stride=patch, embed_dim=sizes["D"], depth=sizes["depth"],
            num_heads=sizes["heads"], target_length=sizes["T"] * patch[1],
        )  # fmt: skip
        wanted = network.state_dict()
        own = {key: value for key, value in _below(tensors, prefix).items() if key in wanted}
        network.load_state_dict({**wanted, **own})
        x = network.eval().forward_features(image.T[None, None])[0]
        rows = image.shape[1] // patch[0]
        return x.unflatten(0, (rows, -1)).transpose(0, 1).flatten(0, 1)  # type: ignore[no-any-return]

    return run


def _ast(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Tensor:
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Anything)]:
        del sys.modules[name]  # transformers would take them for the real ones
    transformers = importlib.import_module("transformers")
    config = transformers.ASTConfig(
        hidden_size=sizes["D"], intermediate_size=sizes["H"], num_hidden_layers=sizes["depth"],
        num_attention_heads=sizes["heads"], max_length=len(image), attn_implementation="eager",
    )  # fmt: skip
    network = transformers.ASTModel(config).eval()
    own = _below(tensors, "audio_spectrogram_transformer.")
    for old, new in _SINCE_TRANSFORMERS_5.items():
        own = {key.replace(old, new): value for key, value in own.items()}
    network.load_state_dict(own)
    x = network(image[None]).last_hidden_state[0, 2:]
    rows = 1 + (image.shape[1] - 16) // 10
    return x.unflatten(0, (rows, -1)).transpose(0, 1).flatten(0, 1)  # type: ignore[no-any-return]


_SINCE_TRANSFORMERS_5 = {
    "encoder.layer.": "layers.", "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj", "attention.output.dense": "attention.o_proj",
    "attention.attention.value": "attention.v_proj", "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}  # fmt: skip


def _plain(prefix: str, *, final_norm: bool) -> Run:
    def run(official: Path, tensors: Tensors, image: Tensor, sizes: Sizes) -> Any:
        arrays = {key: value.double().numpy() for key, value in _below(tensors, prefix).items()}
        return plain_tokens(arrays, image.double().numpy(), heads=sizes["heads"],
                            final_norm=final_norm)[1:]  # fmt: skip

    return run


PLAIN = {"code": "tests/support/plain_vit.py", "licence": "Apache-2.0"}
RUNS: dict[str, tuple[dict[str, str], Run]] = {
    "eat": ({"code": "github.com/cwx-worst-one/EAT@06c1c34e2a", "licence": "MIT"}, _eat("EAT")),
    "sslam": ({"code": "github.com/ta012/SSLAM@0a3c0fff01", "licence": "MIT"}, _eat("SSLAM")),
    "bat": ({"code": "github.com/houtan-ghaffari/BAT_ICML2026@cc922820b4", "licence": "MIT"}, _bat),
    "beats": ({"code": "github.com/microsoft/unilm@768a3c873f", "licence": "MIT"}, _beats),
    "dasheng": (
        {"code": "github.com/XiaoMi/dasheng@711a6da778", "licence": "Apache-2.0"},
        _dasheng((64, 4)),
    ),
    # Dasheng's class with square patches is CED's network; CED's own code is GPL and was not run
    "ced": (
        {"code": "github.com/XiaoMi/dasheng@711a6da778", "licence": "Apache-2.0"},
        _dasheng((16, 16), "encoder."),
    ),
    "ast": (
        {"code": "transformers 5.24.0 (PyPI)", "licence": "Apache-2.0"},
        _ast,
    ),
    "audiomae": (PLAIN, _plain("", final_norm=False)),
    "birdmae": (PLAIN, _plain("", final_norm=False)),
    "asit": (PLAIN, _plain("backbone.", final_norm=True)),
}

if __name__ == "__main__":
    main()
