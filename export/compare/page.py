"""The comparison as Markdown, for people and for pull requests."""

from collections.abc import Sequence

from export.compare.measure import Row
from export.compare.trials import has_prototypes

_CHOICES = """## What validation would deploy

Chosen on validation clips only; differences are points of test mAP, means over seeds. `float` is
the better float head of the two by validation; `binary` is 1-bit tokens at the same M.

| data | encoder | J | float head | precision | test mAP | minus linear | minus float \
| binary - float | deployed |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_TABLE = """## All heads

`quality` is macro mAP in percent on the test clips: mean ± standard deviation over seeds, in
brackets a 95 % bootstrap interval by source recording, of the first seed. Bytes of float
prototypes count as `layer`. `parity` compares torch, onnxruntime and every kernel with the device,
stage by stage: exact to the bit, or the largest difference.

| data | encoder | head | J | tokens | linear layer | quality | to linear | prototypes | layer \
| encoder bytes | parity |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def markdown(entries: Sequence[Row], lines: Sequence[Row], overall: Row, title: str) -> str:
    """The whole page."""
    text = f"# {title}\n\n"
    if lines:
        text += _CHOICES + "".join(map(_choice, lines)) + "\n" + _overall(overall) + "\n"
    return text + _TABLE + "".join(map(_entry, entries))


def _choice(line: Row) -> str:
    cells = [
        line["data"], line["encoder"], str(line["prototypes_per_class"]), line["float_head"],
        line["chosen_precision"], f"{line['chosen']:.1f}", _signed(line.get("chosen_minus_linear")),
        _signed(line["chosen_minus_float"]), _signed(line.get("binary_minus_float")),
        line.get("deployed", ""),
    ]  # fmt: skip
    return _line(cells)


def _overall(overall: Row) -> str:
    names = {
        "chosen_minus_linear": "chosen minus linear",
        "chosen_minus_float": "chosen minus float",
        "binary_minus_float": "binary minus float",
    }
    return "".join(
        f"* {text}: mean {overall[name]['mean']:+.2f}, from {overall[name]['least']:+.2f} to "
        f"{overall[name]['most']:+.2f} over {overall['rows']} rows\n"
        for name, text in names.items()
        if name in overall
    )


def _entry(entry: Row) -> str:
    spread = "" if entry["test_sd"] is None else f" ± {entry['test_sd']:.1f}"
    sure = "" if entry["low"] is None else f" [{entry['low']:.1f}, {entry['high']:.1f}]"
    own = str(entry["prototypes_per_class"]) if has_prototypes(entry["head"]) else ""
    cells = [
        entry["data"], entry["encoder"], entry["head"], own, entry["bits"], entry["layer"],
        f"{entry['test']:.1f}{spread}{sure}", _signed(entry["delta"]),
        f"{entry['prototype_bytes']:,}", f"{entry['linear_bytes']:,}",
        f"{entry['encoder_bytes']:,}", _parity(entry["parity"]),
    ]  # fmt: skip
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |\n"


def _parity(parity: Row | None) -> str:
    if parity is None:
        return ""
    if not parity["passed"]:
        return f"BROKEN {parity['error']:.1e}"
    return "exact" if parity["error"] == 0 else f"{parity['error']:.0e}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"
