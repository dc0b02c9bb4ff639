"""Sets of frames as spans [begin, end): ascending, and neither touching nor overlapping."""

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def add(spans: list[Span], span: Span) -> None:
    """Add frames to a set in place; no earlier span begins later."""
    begin, end = span
    if spans and begin <= spans[-1][1]:
        spans[-1] = spans[-1][0], max(spans[-1][1], end)
    elif end > begin:
        spans.append(span)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The set that spans make up, given in the order of their begins; empty ones count nothing."""
    found: list[Span] = []
    for span in spans:
        add(found, span)
    return found


def common(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Frames in both sets."""
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        begin, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if begin < end:
            found.append((begin, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def without(spans: Sequence[Span], removed: Sequence[Span]) -> list[Span]:
    """Frames of the first set that are not in the second."""
    if not spans:
        return []
    edges = [spans[0][0], *(edge for span in removed for edge in span), spans[-1][1]]
    rest = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    return common(spans, rest)


def counts(spans: Sequence[Span], cells: Sequence[Span]) -> list[int]:
    """Frames of a set in each of some ascending cells."""
    found, i = [0] * len(cells), 0
    for n, (begin, end) in enumerate(cells):
        while i < len(spans) and spans[i][1] <= begin:
            i += 1
        j = i
        while j < len(spans) and spans[j][0] < end:
            found[n] += min(end, spans[j][1]) - max(begin, spans[j][0])
            j += 1
    return found
