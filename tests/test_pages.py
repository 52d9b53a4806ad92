"""Every page does what it says: its commands are run, and its links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests import pages
from tests.pages import Block
from tests.server import UNMEASURED, Server

PAGES: Final = {pages.name(page): page.read_text() for page in pages.pages()}
RUN: Final = [
    name
    for name, content in PAGES.items()
    if any(block.is_run for block in pages.blocks(content))
]
SERVED: Final = re.compile(r"\b(localhost|127\.0\.0\.1):8000\b")
PROGRAMS: Final = r"\b(?:curl|openssl)\b"  # that may not be there
NUMBER: Final = re.compile(r"-?\d+\.\d+")
TIMED: Final = ("timeout", "60")  # which ends what the command has started, too
SHELL: Final = ("/bin/bash", "-euo", "pipefail", "-c")


class Reader:
    """One who follows a page from top to bottom, beside a checkout that is set up."""

    def __init__(self, folder: Path, port: int | None) -> None:
        """Take an empty folder, and the port of what the page calls port 8000."""
        self._folder, self._port = folder, port
        (folder / ".venv").symlink_to(sys.prefix)
        kept = {k: v for k, v in os.environ.items() if "OFFSETNET" not in k}
        path = f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"
        self._environment = {**kept, **UNMEASURED, "PATH": path, "PYTHONUTF8": "1"}

    def run(self, command: str, *interpreter: str) -> str:
        """Run a command as it is typed, and return what it prints."""
        here = SERVED.sub(rf"\g<1>:{self._port}", command)
        done = subprocess.run(
            [*TIMED, *(interpreter or SHELL), here],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout.replace("\r", "")


def _steps(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a console with what it prints."""
    before, *steps = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert steps
    assert not before
    for step in steps:
        command, _, printed = step.partition("\n")
        yield command, printed


def _split_numbers(text: str) -> tuple[str, list[float]]:
    """Return the text without its fractions, and the fractions."""
    return NUMBER.sub("#", text), [float(number) for number in NUMBER.findall(text)]


def _assert_alike(printed: str, said: str, command: str) -> None:
    """Fractions may differ from machine to machine, a little."""
    text, numbers = _split_numbers(printed)
    said_text, said_numbers = _split_numbers(said)
    assert text.strip() == said_text.strip(), command
    assert numbers == pytest.approx(said_numbers, abs=1e-3), command


@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_do_what_it_says(name: str, tmp_path: Path) -> None:
    blocks = [*pages.blocks(PAGES[name])]
    typed = "\n".join(block.text for block in blocks if block.is_run)
    for program in re.findall(PROGRAMS, typed):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    needs_server = SERVED.search(typed)
    data_dir = tmp_path / "offsetnet-data"
    with Server(data_dir) if needs_server else nullcontext() as server:
        reader = Reader(tmp_path, server.port if server else None)
        printed = None
        for block in blocks:
            if block.language == "" and block.is_output and printed is not None:
                _assert_alike(printed, block.text, f"the block before {block.line}")
            printed = _follow(reader, block) if block.is_run else None


def _follow(reader: Reader, block: Block) -> str | None:
    """Run a block; return what it prints where another block may say so."""
    if block.language == "console":
        for command, said in _steps(block):
            _assert_alike(reader.run(command), said, command)
        return None
    if block.language == "python":
        return reader.run(block.text, sys.executable, "-c")
    return reader.run(block.text)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_commands_is_run_or_says_why_not(name: str) -> None:
    faults = [
        f"line {block.line}: {fault}"
        for block in pages.blocks(PAGES[name])
        if (fault := pages.fault(block))
    ]

    assert faults == []


@pytest.mark.parametrize("name", PAGES)
def test_every_block_has_its_end(name: str) -> None:
    assert not pages.has_open_block(PAGES[name])


@pytest.mark.parametrize(
    "content", ["```sh\nls\n", "  ```sh\nls\n```\n", "```\na\n~~~\n\nb\n"]
)
def test_a_block_without_its_end_is_found(content: str) -> None:
    assert pages.has_open_block(content)


@pytest.mark.parametrize("name", PAGES)
def test_a_block_of_data_can_be_parsed(name: str) -> None:
    for block in pages.blocks(PAGES[name]):
        if block.language == "json":
            assert json.loads(block.text), block.line
        elif block.language == "yaml":
            assert [*yaml.safe_load_all(block.text)], block.line


@pytest.mark.parametrize(
    "content",
    [
        "```\n$ ls\n```",
        "```\nFIRST=1 .venv/bin/offsetnet serve\n```",
        "~~~\ncurl localhost:8000\n~~~",
        "- item\n\n  ```bash\n  ls\n  ```",
        "<!-- not run -->\n```sh\nls\n```",
        "<!-- not run: -->\n```sh\nls\n```",
    ],
    ids=["prompt", "no language", "tildes", "another's language", "mark", "no reason"],
)
def test_a_block_that_is_neither_run_nor_marked_is_found(content: str) -> None:
    (block,) = pages.blocks(content)

    assert pages.fault(block)


@pytest.mark.parametrize(
    ("mark", "is_run"), [("", True), ("<!-- not run: needs a cluster -->\n", False)]
)
def test_a_mark_with_a_reason_leaves_a_block_out(mark: str, *, is_run: bool) -> None:
    (block,) = pages.blocks(f"Before.\n\n{mark}```sh\nkubectl apply\n```\n")

    assert pages.fault(block) is None
    assert block.is_run is is_run


@pytest.mark.parametrize("name", PAGES)
def test_a_link_leads_somewhere(name: str) -> None:
    page = pages.ROOT / name

    for path, anchor in pages.links(PAGES[name]):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in pages.anchors(target.read_text()), anchor


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('[a](b.md#c-d), ![e](f.png "g")', [("b.md", "c-d"), ("f.png", "")]),
        ("[a](#b)", [("", "b")]),
        ("[a](https://b.c/d#e), [f](mailto:g@h)", []),
        ("[a]\n\n[a]: ../b.md#c", [("../b.md", "c")]),
        ("```\n[a](b)\n```", []),
    ],
    ids=["file", "own", "others", "reference", "block"],
)
def test_every_form_of_link_is_followed(
    content: str, found: list[tuple[str, str]]
) -> None:
    assert pages.links(content) == found


def test_an_anchor_is_a_heading_outside_of_blocks() -> None:
    content = "# A `b` C\n\n```sh\n# d\n```\n\n## e\n\n## e\n"

    assert pages.anchors(content) == {"a-b-c", "e", "e-1"}
