"""Windows of k chunks, every h chunks; chunk summaries are kept only as long as needed."""

from dataclasses import dataclass

from edge_probe.head import ChunkSummary
from edge_probe.spec import WindowSpec


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive chunks a decision looks at."""

    index: int
    first_chunk: int
    chunks: tuple[ChunkSummary, ...]
    n_valid_last: int
    """Model-rate samples of the last chunk that are audio."""


class Windower:
    """Chunk summaries in order in, windows out.

    Window w covers chunks [wh, wh + k). The last window of a run is cut at its end, so every
    chunk lies in a window and a run shorter than k chunks gives one.

    Parameters
    ----------
    spec : WindowSpec
    n_before : int
        Chunks that went through another one, where this one goes on. Of those, it wants the
        ones from `first_needed` on again.
    """

    def __init__(self, spec: WindowSpec, n_before: int = 0) -> None:
        self._spec = spec
        self._held: list[ChunkSummary] = []
        k, h = spec.window_chunks, spec.hop_chunks
        self._index = 0 if n_before < k else (n_before - k) // h + 1
        self._first = self._index * h  # chunk index of the first summary held
        self._n_valid = 0
        # chunks that lie in a window already given out
        self._covered = self._first - h + k if self._index else 0

    @property
    def first_needed(self) -> int:
        """First chunk that a window to come looks at."""
        return self._first

    @property
    def n_windows(self) -> int:
        """Windows given out so far."""
        return self._index

    def push(self, summary: ChunkSummary, n_valid: int) -> list[Window]:
        """Take the summary of the next chunk and the number of its samples that are audio."""
        self._held.append(summary)
        self._n_valid = n_valid
        if self._first + len(self._held) < self._index * self._spec.hop_chunks + (
            self._spec.window_chunks
        ):
            return []
        return [self._give()]

    def finish(self) -> list[Window]:
        """End the run: the window its end cuts, if a chunk is in none yet."""
        if self._first + len(self._held) > self._covered:
            return [self._give()]
        return []

    def _give(self) -> Window:
        begin = self._index * self._spec.hop_chunks
        chunks = tuple(self._held[begin - self._first :])
        window = Window(self._index, begin, chunks, self._n_valid)
        self._covered = begin + len(chunks)
        self._index += 1
        keep = min(begin + self._spec.hop_chunks, self._covered)
        del self._held[: keep - self._first]
        self._first = keep
        return window
