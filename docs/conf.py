"""How `make book` makes a site of the repository's Markdown: what is in it, and in which order.

The source folder is the repository, so that a link works the same on a forge and in the book. Pages
are plain Markdown; what a forge would show as code (contents, generated reference) is added here.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "edge-probe"
root_doc = "docs/README"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**.md", "edge_probe/**.md",
    "export/**.md", "firmware_tools/**.md", "benchmarks/**.md", "tests/*/README.md",
]  # fmt: skip
exclude_patterns = ["build", ".venv"]
extensions = ["myst_parser", "sphinx_argparse_cli", "site_parts"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = ["toc.not_included", "myst.header"]  # READMEs are reached by links

html_theme = "furo"
html_title = "edge-probe"
html_permalinks_icon = "#"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_additional_pages = {"index": "index.html"}
templates_path = ["templates"]
html_math_renderer = "mathml"
