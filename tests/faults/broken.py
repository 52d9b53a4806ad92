"""Copies of the program with one protection taken out: the controls of the proofs.

A proof that cannot fail proves nothing. Each break is a change of text that must apply.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
UNFENCED: Final = (
    (
        """    return and_(
        jobs.c.id == claim.id, jobs.c.state == "running", jobs.c.owner == claim.owner
    )
""",
        "    return jobs.c.id == claim.id\n",
    ),
)
IN_TWO_TRANSACTIONS: Final = (
    (
        "            prune(connection, self._keep_versions)\n",
        """            prune(connection, self._keep_versions)
        with self._store.write() as connection:
""",
    ),
)


def broken_program(folder: Path, *changes: tuple[str, str]) -> Mapping[str, Any]:
    """Install a copy whose `app/claims.py` is changed; return what `Server` takes.

    Raises:
        ValueError: The text to change is not there.
    """
    for package in ("app", "model"):
        shutil.copytree(ROOT / package, folder / package)
    path = folder / "app" / "claims.py"
    text = path.read_text()
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"not once in {path.name}: {old}")
        text = text.replace(old, new)
    path.write_text(text)
    return {
        "command": (sys.executable, "-P", "-m", "app", "serve"),
        "environment": {"PYTHONPATH": str(folder)},
    }
