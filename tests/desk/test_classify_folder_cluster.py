"""The same survey on Dask: what this machine alone would make, whoever is killed."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest
from pyarrow.parquet import read_table
from support.lone_worker import classified
from support.made_recordings import content, recording

from edge_probe.classify import ChunkAnalyser
from edge_probe.cli import main
from edge_probe.desk.survey.listing import Batch
from edge_probe.desk.survey.survey import Request
from edge_probe.desk.survey.work import DEADLY, BatchResult
from edge_probe.errors import EdgeProbeError

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")


@pytest.fixture(scope="module")
def survey(analyser: ChunkAnalyser, tmp_path_factory: pytest.TempPathFactory) -> Request:
    """Ten files in five batches; done in this process."""
    base = tmp_path_factory.mktemp("survey")
    for seed in range(10):
        recording(base / "r" / f"{seed}.wav", 4000, seed)
    request = Request(
        base / "r", base / "alone", analyser.bundle, utc_offset=timedelta(0), batch_bytes=100_000
    )
    classified(request)
    return request


def test_a_worker_of_a_cluster_is_killed(
    survey: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scheduler gives its batches to others; then the command asks the same cluster."""
    from edge_probe.desk.survey.cluster import Cluster

    killed = []

    class Murder(Cluster):
        def results(
            self, batches: Iterable[Batch], stopped: Callable[[], bool]
        ) -> Iterator[BatchResult]:
            found = super().results(batches, stopped)
            yield next(found)
            with distributed.Client(self._scheduler) as client:
                pids = client.run(os.getpid)
            killed.append(next(iter(pids.values())))
            os.kill(killed[0], signal.SIGKILL)
            yield from found

    request = replace(survey, out=tmp_path / "cluster")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        classified(request, lambda work, pace: Murder(work, address, pace))
        code = main([
            "classify", str(survey.folder), "--out", str(tmp_path / "out"), "--utc-offset",
            "+00:00", "--bundle", str(survey.bundle.path), "--scheduler", address,
        ])  # fmt: skip
    assert killed
    assert content(request.out) == content(survey.out)
    assert code == 0
    assert "10 files" in capsys.readouterr().out


class KillingClient:
    """A cluster whose workers die over one file, until its scheduler gives up."""

    def __init__(self, *_: object, **__: object) -> None:
        self.n_sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def nthreads(self) -> dict[str, int]:
        return {"one": 2}

    def submit(self, deed: Callable[..., Any], work: object, batch: Batch, pure: bool) -> object:
        class Future:
            def result(self) -> object:
                if any(entry.path == "4.wav" for entry in batch.entries):
                    raise distributed.KilledWorker("task", "worker", 3)
                return deed(work, batch)

        return Future()


def test_a_file_that_kills_workers_is_left_out(
    survey: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_probe.desk.survey import cluster

    monkeypatch.setattr(cluster, "Client", KillingClient)
    monkeypatch.setattr(cluster, "_done", lambda sent: list(sent)[-1:])
    request = replace(survey, out=tmp_path / "cluster")
    summary = classified(request, lambda work, pace: cluster.Cluster(work, "nowhere", pace))
    assert (summary.n_files, summary.n_bad) == (10, 1)
    bad = (request.out / "bad.csv").read_text(encoding="utf-8").splitlines()
    assert bad[1:] == [f'4.wav,"{DEADLY}",0.0']
    part = read_table(request.out / "files" / "000002.parquet")
    assert part["file"].to_pylist() == [4, 5]
    found, expected = content(request.out), content(survey.out)
    differ = {name for name in expected if found[name] != expected[name]}
    assert differ == {"bad.csv", "detections/000002.parquet", "files/000002.parquet"}


def test_an_address_where_nobody_answers(
    survey: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_probe.desk.survey import cluster

    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    request = replace(survey, out=tmp_path / "cluster")
    with pytest.raises(EdgeProbeError, match="no Dask scheduler answers there"):
        classified(request, lambda work, pace: cluster.Cluster(work, "tcp://127.0.0.1:9", pace))
