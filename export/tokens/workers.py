"""Who encodes what is missing: this process, or several that take a shard's clips each."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge_probe.errors import AudioError, EdgeProbeError
from edge_probe.processes import start_worker
from export.card import EncoderCard
from export.processes import interruptible_between, uninterrupted
from export.tokens.encode import ClipEncoder, ClipTokens
from export.tokens.keys import Order
from export.tokens.shards import Shards

_MIN_CLIPS_PER_WORKER = 16
"""With fewer, starting a process costs more than it saves."""

_COMMIT_CLIPS, _COMMIT_BYTES = 64, 1 << 26
"""What a worker holds at most before it writes, and what a kill can cost it."""

_LOOK_S = 0.2
"""How often the progress of the workers is looked at."""


@dataclass(slots=True)
class Encoding:
    """What came of some orders."""

    n_encoded: int = 0
    unreadable: dict[str, AudioError] = field(default_factory=dict)
    """By key."""
    wall_s: float = 0.0
    """Time it took."""

    def __iadd__(self, other: "Encoding") -> "Encoding":
        self.n_encoded += other.n_encoded
        self.unreadable |= other.unreadable
        return self


def encode_missing(
    shards: Shards,
    encoder: ClipEncoder,
    missing: Mapping[str, Sequence[Order]],
    n_workers: int,
    progress: str | None,
) -> Encoding:
    """Encode what the shards lack.

    Parameters
    ----------
    shards : Shards
    encoder : ClipEncoder
    missing : mapping of bucket to its orders
    n_workers : int
        At most so many processes.
    progress : str or None
        Name of a progress bar.

    Raises
    ------
    EncoderError
        The graph fails; what was encoded before is kept, here and below.
    EdgeProbeError
        A worker was killed.
    """
    if not missing:
        return Encoding()
    n_clips = sum(map(len, missing.values()))
    n_workers = min(n_workers, len(missing), n_clips // _MIN_CLIPS_PER_WORKER)
    begin = time.monotonic()
    with tqdm(total=n_clips, desc=progress, unit="clip", disable=progress is None) as bar:
        if n_workers > 1:
            total = _in_processes(shards, encoder, _turned(missing), n_workers, bar)
        else:
            total = Encoding()
            for bucket, orders in _turned(missing):
                total += encode_bucket(shards, bucket, orders, encoder, bar.update, lambda: False)
    total.wall_s = time.monotonic() - begin
    return total


def _turned(missing: Mapping[str, Sequence[Order]]) -> list[tuple[str, Sequence[Order]]]:
    """Buckets in another order in each process, so that two on one cache seldom meet."""
    buckets = sorted(missing.items())
    first = os.getpid() % len(buckets)
    return buckets[first:] + buckets[:first]


def encode_bucket(
    shards: Shards,
    bucket: str,
    orders: Sequence[Order],
    encoder: ClipEncoder,
    tick: Callable[[], object],
    stopped: Callable[[], bool],
) -> Encoding:
    """Encode the clips that one shard lacks; what is done is written whatever happens.

    Parameters
    ----------
    shards : Shards
    bucket : str
    orders : sequence of Order
        All of this bucket.
    encoder : ClipEncoder
    tick : callable
        Called after each clip.
    stopped : callable
        Asked before each clip; True: leave the rest.

    Raises
    ------
    EncoderError
    """
    total = Encoding()
    fresh: dict[str, ClipTokens] = {}
    with shards.lock(bucket):
        kept = shards.keys(bucket)  # another process may have been here
        try:
            for order in orders:
                if stopped():
                    break
                if order.key not in kept:
                    try:
                        fresh[order.key] = _encode(order, encoder)
                        total.n_encoded += 1
                    except AudioError as error:
                        total.unreadable[order.key] = error
                if _is_enough(fresh):
                    shards.add(bucket, fresh)
                    fresh = {}
                tick()
        finally:
            if fresh:
                shards.add(bucket, fresh)
    return total


def _encode(order: Order, encoder: ClipEncoder) -> ClipTokens:
    tokens = encoder.encode(order.clip)
    order.audio.check(order.clip.path)
    return tokens


def _is_enough(fresh: Mapping[str, ClipTokens]) -> bool:
    n_bytes = sum(clip.tokens.nbytes for clip in fresh.values())
    return len(fresh) >= _COMMIT_CLIPS or n_bytes >= _COMMIT_BYTES


def _in_processes(
    shards: Shards,
    encoder: ClipEncoder,
    buckets: Sequence[tuple[str, Sequence[Order]]],
    n_workers: int,
    bar: "tqdm[Any]",
) -> Encoding:
    context = multiprocessing.get_context("spawn")
    # No locks in shared memory: a worker that is killed while it holds one would stop us for ever.
    done, stop = context.RawArray("q", len(buckets)), context.RawValue("b", 0)
    made_of = (shards.folder, encoder.card, encoder.channel, done, stop)
    executor = ProcessPoolExecutor(n_workers, context, _start_worker, made_of)
    total = Encoding()
    try:
        with uninterrupted():
            waiting: set[Future[Encoding]] = {
                executor.submit(_work, index, bucket, orders)
                for index, (bucket, orders) in enumerate(buckets)
            }
        with interruptible_between() as check:
            while waiting:
                finished, waiting = wait(waiting, _LOOK_S, FIRST_COMPLETED)
                for future in finished:
                    total += future.result()
                bar.update(sum(done) - bar.n)
                check()
    except BrokenProcessPool as error:
        raise EdgeProbeError(
            "a process that encodes clips was killed, perhaps because memory ran out",
            hint="what was encoded is kept: run it again with fewer --workers",
        ) from error
    finally:
        stop.value = 1  # workers write what they have after their present clip
        executor.shutdown(cancel_futures=True)
    return total


@dataclass(frozen=True, slots=True)
class _Worker:
    """What a worker process has."""

    shards: Shards
    encoder: ClipEncoder
    done: Any
    """Shared array: clips done of each bucket."""
    stop: Any
    """Shared value: not 0 when the work shall end."""


_worker: _Worker


def _start_worker(
    folder: Path, card: EncoderCard, channel: int | None, done: Any, stop: Any
) -> None:
    global _worker
    start_worker()
    _worker = _Worker(Shards(folder), ClipEncoder(card, channel), done, stop)


def _work(index: int, bucket: str, orders: Sequence[Order]) -> Encoding:
    done = _worker.done

    def tick() -> None:
        done[index] += 1

    return encode_bucket(
        _worker.shards, bucket, orders, _worker.encoder, tick, lambda: bool(_worker.stop.value)
    )
