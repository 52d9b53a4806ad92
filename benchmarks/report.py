"""Run the programs that pages of docs/ name, and put their tables there.

The pages are written by hand but for the blocks under a line like
`<!-- table: python -m benchmarks.predict -->`; each is replaced by what that command
prints. Those marked `long table` run with `--long` alone.

Usage: python -m benchmarks.report [--long] [PROGRAM ...]
"""

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = tuple(
    ROOT / "docs" / f"{name}.md" for name in ("performance", "interop", "model-card")
)
BLOCK: Final = re.compile(
    r"<!-- (?P<kind>long table|table): python -m (?P<command>[\w. ]+?) -->\n\n"
    r"```\n.*?```\n\n[^\n]*\n",
    re.DOTALL,
)


def replaced(block: re.Match[str]) -> str:
    """Run a block's command and return the block anew."""
    command, begin = block["command"], time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - begin
    print(f"{command}, {seconds:.0f} s\n{done.stdout}", flush=True)  # noqa: T201
    return (
        f"<!-- {block['kind']}: python -m {command} -->\n\n"
        f"```\n{done.stdout.rstrip()}\n```\n\n"
        f"`python -m {command}`, {seconds:.0f} s, {machine()}\n"
    )


def machine() -> str:
    """Say on what it ran."""
    git = ["git", "rev-parse", "--short", "HEAD"]  # wherever it is
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    return (
        f"commit {commit.stdout.strip()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}."
    )


def main() -> None:
    """Replace the blocks of the kind asked for, each as soon as it is measured."""
    kind = "long table" if "--long" in sys.argv else "table"
    only = [name for name in sys.argv[1:] if not name.startswith("--")]
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text()):
            program = block["command"].rpartition(".")[2]
            if block["kind"] == kind and (not only or program in only):
                new = replaced(block)
                page.write_text(page.read_text().replace(block[0], new))


if __name__ == "__main__":
    main()
