"""The Markdown pages of the repository: their blocks, headings and links."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
COMMANDS: Final = ("sh", "console", "python")  # languages of blocks that are run
DATA: Final = ("json", "yaml")  # that are parsed
TEXT: Final = ("", "diff")  # that are only looked at

_NOT_OURS: Final = (".", "mutants", "offsetnet-data")  # folders that tools make
_BLOCK: Final = re.compile(
    r"^(?P<fence> *(?:```+|~~~+)) *(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence) *$",
    re.DOTALL | re.MULTILINE,
)
_MARK: Final = re.compile(r"<!-- ([^\n]*) -->\s*\Z")
_NOT_RUN: Final = re.compile(r"not run: \S+ .+")
_A_COMMAND: Final = re.compile(
    r"^ *(?:\$ |#!|(?:[A-Z_]+=\S+ )*(?:sudo )?(?:\S+/)?(?:offsetnet|make|curl|python3?"
    r"|pip3?|uv|uvicorn|docker|podman|kubectl|psql|pg_dump|sqlite3|openssl|systemctl"
    r"|git|apt(?:-get)?|cd|cp|mkdir|export)(?: |$))",
    re.MULTILINE,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        line: Where it begins.
        language: As its fence says.
        mark: The comment before it, if any.
        text: What is in it.
        is_output: Whether it may be what the block right before it prints.
    """

    line: int
    language: str
    mark: str
    text: str
    is_output: bool

    @property
    def is_run(self) -> bool:
        """Whether it is commands, and no mark says why not here."""
        return self.language in COMMANDS and not _NOT_RUN.fullmatch(self.mark)


def pages() -> list[Path]:
    """Return every page of the repository."""
    below = [
        page
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith(_NOT_OURS)
        for page in folder.rglob("*.md")
    ]
    return sorted([*ROOT.glob("*.md"), *below])


def name(page: Path) -> str:
    """Return a page's path as a reader says it."""
    return str(page.relative_to(ROOT))


def blocks(content: str) -> Iterator[Block]:
    """Yield the blocks of a page, from top to bottom."""
    end = 0
    for found in _BLOCK.finditer(content):
        before = content[: found.start()]
        mark = _MARK.search(before)
        yield Block(
            line=before.count("\n") + 1,
            language=found["language"].strip(),
            mark=mark[1] if mark else "",
            text=found["text"],
            is_output=end > 0 and not content[end : found.start()].strip(),
        )
        end = found.end()


def fault(block: Block) -> str | None:
    """Return what is wrong with the kind of a block, if anything is.

    Commands stand in a block that says so: there they are run, or marked.
    """
    if block.language not in {*COMMANDS, *DATA, *TEXT}:
        return f"{block.language!r} is no language here: {COMMANDS} are run"
    if block.mark.startswith("not run") and block.is_run:
        return "a mark says why not: <!-- not run: needs a cluster -->"
    if block.language == "" and (found := _A_COMMAND.search(block.text)):
        return f"{found[0]!r} is a command, in a block that is not run"
    return None


def prose(content: str) -> str:
    """Return a page without its blocks."""
    return _BLOCK.sub("", content)


def has_open_block(content: str) -> bool:
    """Tell whether a fence has no other, just as far from the margin, that ends it."""
    return re.search(r"^ *(?:```|~~~)", prose(content), re.MULTILINE) is not None


def anchors(content: str) -> set[str]:
    """Return the names of a page's headings, as links use them."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(content), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    found: set[str] = set()
    counts: Counter[str] = Counter()
    for anchor in (word.replace(" ", "-") for word in words):
        found.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return found


def links(content: str) -> list[tuple[str, str]]:
    """Return the path and the anchor of each link that stays in the repository."""
    inside = r"(?!\w+:)([^)#\s]*)(?:#([^)\s]*))?"
    text = prose(content)
    inline = re.findall(rf"\]\({inside}(?: [^)]*)?\)", text)
    return inline + re.findall(rf"^\[[^\]]+\]: {inside}", text, re.MULTILINE)
