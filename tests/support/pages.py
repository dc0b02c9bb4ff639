"""Code blocks and command lines of the Markdown pages: README files, and the book in ``docs/``."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "docs", "edge_probe", "export", "firmware_tools", "benchmarks", "tests/vm", "tests/faults",
)  # fmt: skip

PROGRAMS = ("edge-probe", "edge-export", "edge-firmware")
FORMATS = (
    "edge-probe bundle",
    "edge-probe bundle v1",
    "edge-probe corrections",
    "edge-probe trust",
)
"""Names that stand in files, and look like commands."""

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    """Relative to the repository."""
    language: str
    """sh and python are run, toml is read, text is not run; empty: a picture."""
    text: str

    @property
    def key(self) -> str:
        """Without comments and blanks: blocks of one key do the same."""
        return re.sub(r"\s+", " ", re.sub(r"\s#.*", "", self.text)).strip()


@dataclass(frozen=True)
class Command:
    """A call of one of our programs that stands in a page."""

    words: tuple[str, ...]
    is_whole: bool
    """All of it, as somebody would type it; else it may be shortened."""

    def __str__(self) -> str:
        return shlex.join(self.words)


def pages() -> list[Path]:
    """Every page of the project that people read."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.md"))]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *found]


def name_of(page: Path) -> str:
    """Relative to the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Fenced blocks of a page, in order."""
    return [
        Block(name_of(page), match[2], re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE))
        for match in _FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def of_page(name: str) -> str:
    """The only Python block of a page."""
    (block,) = [one for one in blocks(ROOT / name) if one.language == "python"]
    return block.text


def commands(page: Path) -> list[Command]:
    """Calls of our programs in a page: fenced, indented or inline."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    whole = [block.text for block in blocks(page) if block.language] + _INDENTED.findall(prose)
    inline = [" ".join(code.split()) for code in _INLINE.findall(_INDENTED.sub("", prose))]
    found = [Command(tuple(words), True) for text in whole for words in _calls(text)]
    found += [Command(tuple(words), False) for text in inline for words in _calls(text)]
    return [one for one in found if " ".join(one.words) not in FORMATS]


def bare_options(page: Path) -> set[str]:
    """Options that a page names without their command: `--like this`."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    codes = [code for code in _INLINE.findall(prose) if code.startswith("--")]
    return {word for code in codes for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}


def _calls(text: str) -> Iterator[list[str]]:
    """The words of each call, without comments, redirections and what stands before it."""
    for line in text.replace("\\\n", " ").splitlines():
        if not re.search("|".join(PROGRAMS), line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;<>()"):
                words.append(word)
                continue
            if words[:2] == ["sudo", "-u"]:
                words = words[3:]
            words = words[1:] if words[:1] == ["sudo"] else words
            if len(words) > 1 and words[0] in PROGRAMS:
                yield words
            words = []
