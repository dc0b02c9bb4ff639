"""Parts of a survey on several machines, joined: what one machine would have made, or nothing."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from support.analysed_state import small_bundle
from support.lone_worker import classified
from support.made_recordings import BAD, GOOD, content, recordings

from edge_probe.bundle import Bundle
from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.survey.survey import Request
from edge_probe.spec import WindowSpec

N_SHARDS = 3


@pytest.fixture(scope="module")
def bundle(analyser: ChunkAnalyser) -> Bundle:
    return analyser.bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("season") / "recordings")


def classify(folder: Path, out: Path, bundle: Bundle, shard: int = 1, n_shards: int = 1) -> None:
    """A batch for each file."""
    classified(
        Request(
            folder, out, bundle, utc_offset=timedelta(0), shard=shard, n_shards=n_shards,
            batch_bytes=1,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def shards(
    folder: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Path]:
    base = tmp_path_factory.mktemp("shards")
    found = [base / f"shard-{number}" for number in range(1, N_SHARDS + 1)]
    for number, out in enumerate(found, 1):
        classify(folder, out, bundle, number, N_SHARDS)
    return found


def merged(shards: Sequence[Path], out: Path) -> int:
    return main(["merge", *map(str, shards), "--out", str(out)])


def test_shards_joined_are_the_whole(
    folder: Path, bundle: Bundle, shards: Sequence[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    classify(folder, tmp_path / "whole", bundle)
    before = {shard: content(shard) for shard in shards}
    assert merged([shards[2], shards[0], shards[1]], tmp_path / "joined") == 0
    assert f"{len(GOOD) + len(BAD)} files" in capsys.readouterr().out
    assert content(tmp_path / "joined") == content(tmp_path / "whole")
    assert {shard: content(shard) for shard in shards} == before
    classify(folder, tmp_path / "joined", bundle)  # and may be looked through again


@pytest.mark.parametrize("command", ["results", "merge"])
def test_a_shard_is_no_whole(
    command: str, shards: Sequence[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "results":
        assert main(["results", str(shards[1]), "--format", "jsonl"]) == 1
        assert "is shard 2 of 3" in capsys.readouterr().err
    else:
        assert merged(shards[1:], tmp_path / "out") == 1
        assert "expected 3 shards, found 2; missing: 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shards_that_do_not_belong_together_are_refused(
    folder: Path, bundle: Bundle, shards: Sequence[Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refused(*found: Path) -> str:
        assert merged(found, tmp_path / "out") == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    other = tmp_path / "other"
    classify(folder, other, small_bundle(tmp_path / "b", WindowSpec(3, 1, 0.03)), 3, N_SHARDS)
    assert "is of another survey than" in refused(*shards[:2], other)
    division = tmp_path / "division"
    classify(folder, division, bundle, 3, 4)
    assert "expected a shard of 3 as" in refused(*shards[:2], division)
    assert "and so is" in refused(*shards, copied(shards[0], tmp_path / "twin"))
    assert "and so is" in refused(*shards, shards[1])
    part = copied(shards[2], tmp_path / "part")
    next((part / "detections").glob("*.parquet")).unlink()
    assert "shard 3 of 3 is not complete" in refused(*shards[:2], part)
    damaged = copied(shards[2], tmp_path / "damaged")
    path = next((damaged / "files").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read" in refused(*shards[:2], damaged)
    assert "no such file" in refused(*shards, tmp_path)


def copied(shard: Path, target: Path) -> Path:
    shutil.copytree(shard, target)
    return target


def test_a_shard_may_have_nothing_to_do(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An array of more jobs than there are batches; where nothing at all is good, that is told."""
    few = tmp_path / "few"
    few.mkdir()
    (few / "no.wav").write_bytes(b"no audio")
    options = ["--bundle", str(bundle.path), "--utc-offset", "Z", "--jobs", "1"]
    outs = [tmp_path / number for number in "12"]
    for number, out in enumerate(outs, 1):
        shard = ["--out", str(out), "--shard", f"{number}/2"]
        assert main(["classify", str(few), *shard, *options]) == 0, "a job array goes on"
    assert "2: 0 files" in capsys.readouterr().out
    assert main(["classify", str(few), "--out", str(tmp_path / "whole"), *options]) == 1
    assert merged(outs, tmp_path / "joined") == 1
    assert content(tmp_path / "joined") == content(tmp_path / "whole")
    sf.write(few / "yes.wav", np.zeros(1000), 1000)
    assert main(["classify", str(few), "--out", str(tmp_path / "all"), *options]) == 0
