"""`python -m app`, and the command `offsetnet`: the program starts here.

While modules are imported nothing becomes garbage, so that looking for it can wait.
That is done here and not in `main`: a worker process imports this and runs no `main`.
"""

import gc

gc.disable()

from app.cli import cli

gc.freeze()
gc.enable()


def main() -> None:
    """Run the command line."""
    cli(prog_name="offsetnet")


if __name__ == "__main__":
    main()
