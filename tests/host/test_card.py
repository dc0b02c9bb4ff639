"""Encoder cards: where they are found, and what is refused."""

from pathlib import Path

import pytest
from support.onnx_bytes import external_tensor, node, tiny_encoder

from edge_probe.errors import EncoderError
from export.card import facts_of, read_card, write_card
from export.commands.tokens import DEMO_ENCODER
from export.demo.model import encoder_spec

CARD = {"name": '"tiny"', "licence": '"Apache-2.0"', "sample_rate_hz": "16",
        "chunk_samples": "16", "input": '"x"', "output": '"y"'}  # fmt: skip


def write(tmp_path: Path, **changes: str | None) -> Path:
    graph = tmp_path / "tiny.onnx"
    graph.write_bytes(tiny_encoder())
    lines = [f"{key} = {value}" for key, value in (CARD | changes).items() if value is not None]
    graph.with_suffix(".toml").write_text("\n".join(lines), encoding="utf-8")
    return graph


def test_size_of_the_token_map_is_measured(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, step_samples="4", start_samples="-2"))
    grid = card.spec.grid
    assert (grid.n_dims, grid.n_time, grid.n_freq) == (4, 2, 2)
    assert (grid.start_samples, grid.step_samples, grid.band_edges_hz) == (-2.0, 4.0, None)
    assert read_card(write(tmp_path)).spec.grid.step_samples == 8.0
    assert card.provenance == {"name": "tiny", "licence": "Apache-2.0"}


def test_card_of_the_demo_encoder_says_what_its_code_says() -> None:
    card = Path("export/cards/demo_encoder.toml")
    found = read_card(DEMO_ENCODER, Path(__file__).parents[2] / card)
    assert found.spec == encoder_spec("encoder.onnx")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"licence": None}, "lacks licence"),
        ({"colour": "1"}, "unknown keys colour"),
        ({"input": '"z"'}, "does not run as its card says"),
        ({"output": '"z"'}, "does not run as its card says"),
        ({"chunk_samples": "15"}, "does not run as its card says"),
        ({"output": '"x"'}, "does not run|expected a token map"),
        ({"band_edges_hz": "[0, 4]"}, "expected 3 band_edges_hz, found 2"),
        ({"name": "no quotes"}, "tiny.toml"),
        ({"sample_rate_hz": '"fast"'}, "sample_rate_hz"),
        ({"chunk_samples": "0"}, "chunk_samples"),
        ({"band_edges_hz": "[4, 0, 8]"}, "band_edges_hz"),
        ({"step_samples": "-1"}, "step_samples"),
        ({"step_samples": "nan"}, "step_samples"),
        ({"step_samples": "true"}, "step_samples"),
        ({"band_edges_hz": "3"}, "band_edges_hz"),
        ({"name": "1"}, "name = 1, not a text"),
        ({"name": '""'}, "name = '', not 1 to 1000 printable characters"),
        ({"licence": '"MIT\\n"'}, "licence = .*, not 1 to 1000 printable characters"),
        ({"cls": "1"}, "cls = 1, not a text"),
        ({"cls": '"z"'}, "does not run as its card says"),
        (
            {"cls": '"y"'},
            r"expected a \[cls\] token float32 \(1, D_cls\), found float32 \(1, 4, 2, 2\)",
        ),
    ],
)
def test_card_that_is_wrong(tmp_path: Path, changes: dict[str, str | None], problem: str) -> None:
    with pytest.raises(EncoderError, match=problem):
        read_card(write(tmp_path, **changes))


def test_missing_graph_and_card(tmp_path: Path) -> None:
    graph = write(tmp_path)
    graph.with_suffix(".toml").unlink()
    with pytest.raises(EncoderError, match="no card"):
        read_card(graph)
    with pytest.raises(EncoderError, match="no such encoder graph"):
        read_card(tmp_path / "none.onnx")
    with pytest.raises(EncoderError, match=r"absent\.toml"):
        read_card(graph, tmp_path / "absent.toml")


def test_graph_that_is_none(tmp_path: Path) -> None:
    graph = write(tmp_path)
    graph.write_text("not onnx")
    with pytest.raises(EncoderError, match=r"no bundle may hold this graph.*E50"):
        read_card(graph)


def test_graph_that_no_bundle_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = write(tmp_path)
    graph.write_bytes(tiny_encoder([node("RandomNormalLike", ["x"], "unused")]))
    with pytest.raises(EncoderError, match=r"RandomNormalLike.*E53"):
        read_card(graph)
    monkeypatch.setattr("export.card.MAX_GRAPH_BYTES", 10)
    with pytest.raises(EncoderError, match="at most 10 bytes"):
        read_card(graph)


def test_external_data_is_found_beside_the_graph(tmp_path: Path) -> None:
    graph = write(tmp_path)
    for name, there in [("w.bin", True), ("none.bin", False), ("../w.bin", False),
                        ("labels.txt", True)]:  # fmt: skip
        tensor = external_tensor("e", (1,), location=name, length="4")
        graph.write_bytes(tiny_encoder([node("Mul", ["x", "e"], "unused")], [tensor]))
        if there:
            (tmp_path / name).write_bytes(bytes(4))
        if name == "w.bin":
            assert read_card(graph).external_data == (tmp_path / name,)
        else:
            with pytest.raises(EncoderError, match="E55"):
                read_card(graph)
    graph.write_bytes(tiny_encoder())
    assert read_card(graph).external_data == ()


def test_card_that_is_written_says_the_same_when_read(tmp_path: Path) -> None:
    graph = write(tmp_path, start_samples="-2", band_edges_hz="[10, 20.5, 40]")
    step = {"what": 'int8, "static"', "token_cosine_mean": 0.9875, "clips": 320, "good": True}
    facts = facts_of(read_card(graph)) | {"name": "Vögel", "steps": [step, {"what": "cut\t1\x7f"}]}
    graph.with_suffix(".toml").unlink()
    card = write_card(graph, facts)
    assert card == read_card(graph)
    assert facts_of(card) == facts
    assert card.provenance["steps"] == [step, {"what": "cut\t1\x7f"}]
    assert card.spec.grid.band_edges_hz == (10.0, 20.5, 40.0)


def test_card_that_would_be_wrong_is_not_written(tmp_path: Path) -> None:
    graph = write(tmp_path)
    before = graph.with_suffix(".toml").read_bytes()
    facts = facts_of(read_card(graph))
    for wrong in ({"output": "nowhere"}, {"steps": [{"cosine": 1.0}]}, {"steps": [{"what": [1]}]}):
        with pytest.raises(EncoderError):
            write_card(graph, facts | wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.onnx", "tiny.toml"]
    assert graph.with_suffix(".toml").read_bytes() == before
