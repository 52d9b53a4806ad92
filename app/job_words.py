"""The words of a job: its state, its outcome, and whether its version shall serve."""

from typing import Final, Literal

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Outcome = Literal["promoted", "rejected", "kept"]
Promote = Literal["if_better", "always", "never"]

UNFINISHED: Final = ("queued", "running")
FINAL: Final = ("succeeded", "failed", "cancelled")
