"""The gate: whether a newly trained version shall serve.

Both networks are measured on the same held-out people by mean squared error of the
probability (Brier score), whatever the training minimised. People are held out by a
hash of their row, so that they stay on their side from job to job.

References:
    Brier (1950), Verification of forecasts expressed in terms of probability.
"""

from typing import Final, NamedTuple

from app.job_words import Outcome, Promote
from model import MIN_ROWS_TO_SPLIT, Artifact, Dataset, Metrics, evaluate


class Comparison(NamedTuple):
    """Both networks on the same held-out people."""

    challenger: Metrics
    champion: Metrics | None
    rows: int

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "challenger": self.challenger._asdict(),
            "champion": self.champion and self.champion._asdict(),
            "rows": self.rows,
        }


class Decision(NamedTuple):
    """What becomes of a challenger, and why."""

    outcome: Outcome
    reason: str | None = None


PROMOTED: Final = Decision("promoted")


def compare(
    challenger: Artifact, champion: Artifact | None, data: Dataset
) -> Comparison | None:
    """Measure both on the people that the challenger was not trained on."""
    config = challenger.config
    _, holdout = data.split(config.holdout, config.seed)
    if holdout is None:
        return None
    return Comparison(
        challenger=evaluate(challenger.params, holdout),
        champion=evaluate(champion.params, holdout) if champion else None,
        rows=len(holdout),
    )


def decide(
    promote: Promote,
    challenger: Artifact,
    champion: Artifact | None,
    comparison: Comparison | None,
    tolerance: float,
) -> Decision:
    """Decide about a challenger.

    Args:
        promote: What the submitter wants.
        challenger: The new version, finite and verified.
        champion: The active one, None where it is damaged or missing.
        comparison: Both on the same people, None where nobody was held out.
        tolerance: How many times the champion's error the challenger's may be.
    """
    if promote == "never":
        return Decision("kept")
    if promote == "always" or champion is None:
        return PROMOTED
    if comparison is None or comparison.champion is None:
        return _decide_without_holdout(challenger, champion)
    if comparison.challenger.mse <= tolerance * comparison.champion.mse:
        return PROMOTED
    return Decision("rejected", "not-better")


def _decide_without_holdout(challenger: Artifact, champion: Artifact) -> Decision:
    """Let few people replace only what was trained on few."""
    if challenger.rows >= MIN_ROWS_TO_SPLIT:
        return Decision("kept", "no-holdout")
    if champion.rows < MIN_ROWS_TO_SPLIT:
        return PROMOTED
    return Decision("kept", "too-few-rows")
