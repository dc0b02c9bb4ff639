"""What is added to the Markdown pages while the site is built: contents, references, formulas."""

import argparse

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from edge_probe.commands import run

CONTENTS = {
    "": ["tutorial"],
    "How to": [
        f"how-to/{task}"
        for task in (
            "clips", "encoder", "threshold", "card-and-power", "set-up-a-pi", "watch", "update",
            "clock", "privacy", "collect", "review", "validate", "refit", "compare", "formats",
            "season",
        )
    ],
    "How it works": ["how-it-works/head", "how-it-works/time", "how-it-works/bundle"],
    "Reference": [
        "reference/edge-probe", "reference/edge-export", "reference/edge-firmware",
        "reference/settings", "reference/formats", "glossary",
    ],
    "To judge it": ["limits"],
    "The code": [
        "/README", "/edge_probe/README", "/edge_probe/SCHEMA", "/edge_probe/bundle/FORMAT",
        "/export/README", "/firmware_tools/README", "/benchmarks/README", "/CONTRIBUTING",
        "/CHANGELOG",
    ],
}  # fmt: skip
"""Pages by chapter, below ``docs/`` or, with a slash, anywhere in the repository."""

FUNCTIONS = {"edge-probe": "probe", "edge-export": "export_", "edge-firmware": "firmware"}


def contents() -> str:
    """The table of contents, for the cover."""
    return "".join(
        "\n```{toctree}\n:hidden:\n" + (f":caption: {chapter}\n" if chapter else "") + "\n"
        + "\n".join(pages) + "\n```\n"
        for chapter, pages in CONTENTS.items()
    )  # fmt: skip


def commands(program: str) -> str:
    """The reference of a program, from its parser."""
    return (
        f"\n```{{sphinx_argparse_cli}}\n:module: programs\n:func: {FUNCTIONS[program]}\n"
        f":prog: {program}\n:title: Commands\n```\n"
    )


def settings() -> str:
    """Keys of ``settings.toml``: options of ``edge-probe run`` that may stand in a file."""
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    lines = ["", "| key | value | what |", "|---|---|---|"]
    for action in parser._actions:
        name = action.dest
        if name == "help" or name in run.NOT_IN_FILE:
            continue
        if action.choices is not None and action.metavar is None:
            value = ", ".join(f"`{choice}`" for choice in action.choices)
        elif action.nargs == 0:
            value = "`true`, `false`"
        else:
            value = str(action.metavar or name.upper())
        lines.append(f"| `{name.replace('_', '-')}` | {value} | {action.help or ''} |")
    return "\n".join([*lines, ""])


def add_parts(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append to a page what belongs there."""
    if page == "docs/README":
        source[0] += contents()
    if page.removeprefix("docs/reference/") in FUNCTIONS:
        source[0] += commands(page.removeprefix("docs/reference/"))
    if page == "docs/reference/settings":
        source[0] = source[0].replace("<!-- keys of settings.toml -->", settings())


def always_read(*_: object) -> list[str]:
    """Pages that change when a program or this file does, though their Markdown does not."""
    return ["docs/README", *(f"docs/reference/{page}" for page in (*FUNCTIONS, "settings"))]


def inline_formula(writer: HTML5Translator, node: nodes.math) -> None:
    """MathML: browsers draw it themselves, without a script or a network."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def formula(writer: HTML5Translator, node: nodes.math_block) -> None:
    """The same, on a line of its own."""
    mathml = latex2mathml.converter.convert(node.astext(), display="block")
    writer.body.append(f'<div class="math">{mathml}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (formula, None))
    app.connect("env-get-outdated", always_read)
    app.connect("source-read", add_parts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
