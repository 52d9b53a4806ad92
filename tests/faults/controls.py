"""Break a protection on purpose: the proofs must find it, or they prove nothing.

Each break is a copy of the program with a few lines of `app/claims.py` changed. The
whole program plays the same history beside it, and must be found in order.

Usage: python -m tests.faults.controls
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.databases import Databases, databases
from tests.faults.broken import IN_TWO_TRANSACTIONS, UNFENCED, broken_program
from tests.faults.killpoints import Point, Run
from tests.faults.machines import be_late
from tests.faults.report import report

IN_BETWEEN: Final = Point(
    "K10", "before the job's end", "call app.claims _change_owned 1", "train"
)

Play = Callable[[Path, Databases, Mapping[str, Any]], list[str]]


def _late(folder: Path, made: Databases, program: Mapping[str, Any]) -> list[str]:
    return be_late(folder, made.new("postgresql"), program)


def _killed(folder: Path, made: Databases, program: Mapping[str, Any]) -> list[str]:
    environment = made.new("sqlite")
    return Run(folder, environment, IN_BETWEEN, has_all=False, program=program).play()


CONTROLS: Final[dict[str, tuple[tuple[tuple[str, str], ...], Play]]] = {
    "the owner is not looked at": (UNFENCED, _late),
    "two transactions at the end": (IN_TWO_TRANSACTIONS, _killed),
}


def play(name: str, made: Databases, *, is_broken: bool) -> list[str]:
    """Return what is found wrong with the program, broken or whole."""
    changes, history = CONTROLS[name]
    with tempfile.TemporaryDirectory(prefix="offsetnet-") as folder:
        installed = Path(folder) / "program"
        program = broken_program(installed, *(changes if is_broken else ()))
        return history(Path(folder), made, program)


def main() -> int:
    """Print a table, and return the exit status."""
    table, wrong = Table("what is broken", "found", "in the whole program"), []
    with databases() as made:
        for name in CONTROLS:
            found = play(name, made, is_broken=True)
            healthy = play(name, made, is_broken=False)
            table.add_row(name, "\n".join(found) or "nothing", str(len(healthy)))
            wrong += healthy + ([] if found else [f"nothing is found: {name}"])
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
