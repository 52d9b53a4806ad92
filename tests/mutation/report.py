"""Change the code in every way that mutmut knows, and see what no test notices.

Usage: python -m tests.mutation.report [--again]
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.table import Table

from tests.faults.report import report
from tests.mutation.mutants import KILLED, Mutant, find, reasons

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "mutants.md"
LEAST_PERCENT: Final = 85
COLUMNS: Final = ("module", "mutants", "killed", "of these by time", "% killed")
INTRODUCTION: Final = """\
# Mutants

A mutant is the program with one small change: `<` for `<=`, `+` for `-`, `None` for an
argument, another text. A test that turns red kills it; what survives is a line on which
no test has an opinion. [mutmut](https://mutmut.readthedocs.io) makes every mutant it
knows of `model/` and of the decisions in `app/`, and runs the tests that call the
changed function; none of them starts a server. `make mutants` does so and writes this
page.

How to read it: a mutant that runs without end is killed by its time. mutmut leaves out
what stands outside of functions, and functions under a decorator, such as properties.
Each survivor has its reason in `tests/mutation/survivors.toml`; one without a reason is
a failure, and so is a reason that no survivor needs.
"""


def run(*, again: bool) -> int:
    """Run mutmut, from nothing or on what has changed; return its exit status."""
    if not again:
        shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    mutmut = [str(Path(sys.executable).with_name("mutmut")), "run"]
    return subprocess.run(mutmut, cwd=ROOT, check=False).returncode


def summary(found: list[Mutant]) -> list[list[str]]:
    """Return the figures of each module, and of all, as `COLUMNS` names them."""
    modules = [(name, list(of)) for name, of in groupby(found, lambda one: one.module)]
    rows = []
    for name, mutants in [*modules, ("all", found)]:
        ends = Counter(mutant.status for mutant in mutants)
        killed = sum(ends[status] for status in KILLED)
        percent = f"{100 * killed / len(mutants):.1f}"
        rows.append([name, *map(str, (len(mutants), killed, ends["timeout"])), percent])
    return rows


def page(found: list[Mutant], known: dict[tuple[str, str], str]) -> str:
    """Return the page: the score by module, and the survivors by reason."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = ["| " + " | ".join(row) + " |" for row in summary(found)]
    parts = [
        INTRODUCTION,
        f"`make mutants` at commit {commit.stdout.strip()}:\n",
        "| " + " | ".join(COLUMNS) + " |\n| --- | --: | --: | --: | --: |",
        *rows,
        "\n## Survivors\n",
    ]
    for reason in dict.fromkeys(known.values()):
        lines = [
            line
            for mutant in found
            if not mutant.is_killed and known[mutant.place] == reason
            for line in (f"# {mutant.function}", *mutant.before, *mutant.after)
        ]
        parts.append(f"{reason}\n\n```diff\n" + "\n".join(lines) + "\n```\n")
    return "\n".join(parts)


def main() -> int:
    """Print a table by module, write the page, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--again", action="store_true", help="only what has changed")
    os.chdir(ROOT)
    if run(again=parser.parse_args().again):
        return 1
    found, known = find(), reasons()
    alive = {mutant.place for mutant in found if not mutant.is_killed}
    wrong = [f"no reason: {': '.join(place)}" for place in sorted(alive - known.keys())]
    noticed = known.keys() - {one.place for one in found if one.status != "killed"}
    wrong += [f"killed: {': '.join(place)}" for place in sorted(noticed)]
    table = Table(*COLUMNS)
    for row in summary(found):
        table.add_row(*row)
    percent = 100 * sum(mutant.is_killed for mutant in found) / len(found)
    wrong += [f"{percent:.1f} % are killed"] if percent < LEAST_PERCENT else []
    if not wrong:
        PAGE.write_text(page(found, known))
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
