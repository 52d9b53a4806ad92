"""What mutmut found, and what is known of the survivors."""

import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files

SURVIVORS: Final = Path(__file__).with_name("survivors.toml")
KILLED: Final = ("killed", "timeout")


class Mutant(NamedTuple):
    """A changed function: where, which lines became which, and how it ended."""

    module: str
    function: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    status: str

    @property
    def is_killed(self) -> bool:
        """Whether a test noticed."""
        return self.status in KILLED

    @property
    def place(self) -> tuple[str, str]:
        """The function and what became of it, which stays when other lines change."""
        return self.function, " ".join(line.removeprefix("+ ") for line in self.after)


def find() -> list[Mutant]:
    """Return every mutant, in the order of the modules."""
    found = []
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        for name, code in data.exit_code_by_key.items():
            status = status_by_exit_code[code]
            before, after = ((), ()) if status == "killed" else _change(name, path)
            found.append(Mutant(str(path), _function(name), before, after, status))
    return found


def reasons() -> dict[tuple[str, str], str]:
    """Return why each known survivor may live, by its place."""
    return {
        (function, after): group["reason"]
        for group in tomllib.loads(SURVIVORS.read_text())["group"]
        for function, changes in group["survivors"].items()
        for after in changes
    }


def _function(name: str) -> str:
    """Return a function's name as it is imported: `app.auth.Guard.check`."""
    mangled = name.rpartition("__mutmut_")[0].replace("xǁ", "").replace("ǁ", ".")
    module, _, function = mangled.rpartition(".x_")
    return f"{module}.{function}" if module else mangled


def _change(name: str, path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines of a mutant that changed, without their indentation."""
    lines = get_diff_for_mutant(name, path=path).splitlines()[2:]
    signs = {
        sign: tuple(f"{sign} {line[1:].strip()}" for line in lines if line[0] == sign)
        for sign in "-+"
    }
    return signs["-"], signs["+"]
