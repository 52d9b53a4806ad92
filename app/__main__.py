"""`python -m app`, and the command `offsetnet`: the program starts here.

While modules are imported nothing becomes garbage, so that looking for it can wait.
That is done here and not in `main`: a worker process imports this and runs no `main`.
"""

import gc
import os
import sys

gc.disable()

from app.cli import cli

gc.freeze()
gc.enable()


def main() -> None:
    """Run the command line; output that cannot be written ends it with one line."""
    _open_standard_output()
    try:
        try:
            cli(prog_name="offsetnet")
        finally:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still to be flushed
        is_pipe = isinstance(error, BrokenPipeError)  # whose reader has had enough
        sys.exit(1 if is_pipe else f"offsetnet: {_describe(error)}")


def _open_standard_output() -> None:
    """Open what refuses to be written, if it is closed: no file may take its place."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 1)
        sys.stdout = os.fdopen(1, "w")


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


if __name__ == "__main__":
    main()
