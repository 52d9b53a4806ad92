"""How a proof ends: a table, what is wrong, and the exit status."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

WIDTH = 100


def report(table: Table, wrong: Sequence[str]) -> int:
    """Print both, and return 1 where something is wrong."""
    console = Console(width=WIDTH)
    console.print(table)
    for fault in wrong:
        console.print(fault, markup=False)
    return int(bool(wrong))
