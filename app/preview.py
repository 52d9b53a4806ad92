"""The preview: what a training would work with, without any job."""

from app.job_views import DryRun, Labels, Split
from app.jobs import Submission
from app.versions import Champion
from app.views import Metrics
from model import evaluate


def preview(submission: Submission, champion: Champion) -> DryRun:
    """Describe a submission, and measure the active version on its holdout."""
    data, config = submission.data, submission.config
    training, holdout = data.split(config.holdout, config.seed)
    females = int(data.y.sum())
    model = champion.artifact
    metrics = evaluate(model.params, holdout) if model and holdout else None
    return DryRun(
        rows=len(data),
        labels=Labels(F=females, M=len(data) - females),
        split=Split(training=len(training), holdout=len(holdout) if holdout else 0),
        conflicting_rows=data.conflicting_rows(),
        dataset_sha256=data.sha256,
        config=config.to_dict(),
        promote=submission.promote,
        warnings=list(submission.warnings),
        champion=metrics and Metrics(**metrics._asdict()),
    )
