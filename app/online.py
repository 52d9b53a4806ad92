"""What the command line does through a server: train, and choose who serves."""

from pathlib import Path
from typing import Final

from rich.table import Column, Table
from rich.text import Text

from app.bodies import MAX_CSV_BYTES
from app.client import Client
from app.connection import connection
from app.files import check_output, read_content, write
from app.job_views import Comparison, Job
from app.protocol import ClientError
from app.schemas import TrainQuery
from app.terminal import (
    Outputs,
    describe_losses,
    fail,
    loss_curve,
    notices,
    output,
    progress_bar,
)
from app.training_settings import ConfigChanges
from app.views import ActiveModel, Metrics, Model

COLUMNS: Final = {  # each with its width at least, however narrow the terminal is
    "version": 7,
    "": 8,
    "created (UTC)": 16,
    "rows": 4,
    "mse": 6,
    "accuracy": 8,
}
NOTE_WIDTH: Final = 16
REASONS: Final = {
    "not-better": "the new version's error was more than OFFSETNET_GATE_TOLERANCE "
    "times that of the active one",
    "too-few-rows": "fewer than 20 rows never replace a version that was trained on "
    "more",
    "no-holdout": "holdout was 0, or left nobody out, so there was nothing to compare "
    "on",
    "diverged": "a loss or weight was no longer finite; nothing was stored",
    "timeout": "it ran longer than OFFSETNET_TRAINING_SECONDS",
    "stalled": "it computed nothing for OFFSETNET_STALL_SECONDS, in each of its tries: "
    "a deadlock",
    "out-of-memory": "it needed more than OFFSETNET_TRAINING_MEMORY_BYTES",
    "killed": "its runner's process died in each of its tries; where it was the kernel "
    "for want of memory, its log says so",
    "lost": "its machine fell silent in the last of its tries",
    "error": "a bug; the runner's log has the traceback",
}


def train(server: str, path: Path | None, query: TrainQuery, outputs: Outputs) -> None:
    """Train on a CSV, or without one on the article's people, and show the result."""
    save_to, draw_curve, as_json = outputs
    check_output(save_to)
    content = None if path is None else read_content(path, MAX_CSV_BYTES)
    with connection(server) as client:
        job = _watch(client, _submit(client, content, query), server)
        if draw_curve and job.history:
            (notices if as_json else output).print(loss_curve(job.history))
        if as_json:
            output.print_json(job.model_dump_json())
        if job.state != "succeeded":
            fail(*_headlines(job))
        if not as_json:
            _show_job(job)
        if save_to and job.model_version:
            write(save_to, client.weights(job.model_version))


def list_models(server: str, *, as_json: bool) -> None:
    """Show the versions, newest first."""
    with connection(server) as client:
        listed, (active, _) = client.models(), client.active()
    if as_json:
        output.print_json(listed.model_dump_json())
        return
    columns = [
        *(Column(name, no_wrap=True, min_width=n) for name, n in COLUMNS.items()),
        Column("note", overflow="fold", min_width=NOTE_WIDTH),
    ]
    table = Table(*columns, box=None, pad_edge=False)
    for model in listed.models:
        table.add_row(*_cells(model, active.previous))
    output.print(table)


def show_model(server: str, version: int, *, as_json: bool) -> None:
    """Show one version."""
    with connection(server) as client:
        model = client.model(version)
    if as_json:
        output.print_json(model.model_dump_json())
    else:
        _show_model(model)


def activate(server: str, version: int, *, as_json: bool) -> None:
    """Let a version serve, unless another one was made to meanwhile."""
    with connection(server) as client:
        _, etag = client.active()
        model = client.activate(version, etag)
    _show_active(model, as_json=as_json)


def roll_back(server: str, *, as_json: bool) -> None:
    """Let the version serve that did before."""
    with connection(server) as client:
        active, etag = client.active()
        if active.previous is None:
            fail("no-previous: there is no version to go back to")
        model = client.activate(active.previous, etag)
    _show_active(model, as_json=as_json)


def _submit(client: Client, content: bytes | None, query: TrainQuery) -> Job:
    given = query.model_dump(exclude_unset=True)
    if content is not None:
        return client.train_csv(content, **given)
    names = given.keys() & ConfigChanges.model_fields
    return client.train_json({"config": {n: given.pop(n) for n in names}, **given})


def _watch(client: Client, submitted: Job, server: str) -> Job:
    """Show a bar until the job has ended."""
    job, place = submitted, server.rstrip("/") + submitted.links.self
    try:
        with progress_bar("epoch") as bar:
            task = bar.add_task(job.state, total=job.epochs)
            for job in client.watch(submitted):
                bar.update(task, completed=job.epoch, description=_standing(job))
    except KeyboardInterrupt:
        fail(f"job {job.id} goes on; curl -X DELETE {place} cancels it")
    except ClientError:
        notices.print(f"job {job.id} may go on; {place} tells", markup=False)
        raise
    return job


def _standing(job: Job) -> str:
    if job.train_loss is None:
        return job.state
    return describe_losses(job.train_loss, job.holdout_loss)


def _headlines(job: Job) -> list[str]:
    """Say how a job ended, and what its reason means."""
    reason = f" ({job.reason})" if job.reason else ""
    version = f", version {job.model_version}" if job.model_version else ""
    line = f"job {job.id}: {job.outcome or job.state}{reason}{version}"
    return [line, *filter(None, [REASONS.get(job.reason or "")])]


def _show_job(job: Job) -> None:
    for line in _headlines(job):
        output.print(line)
    for warning in job.warnings:
        notices.print(f"warning: {warning}", markup=False)
    if job.metrics:
        output.print(_comparison_table(job.metrics))


def _comparison_table(comparison: Comparison) -> Table:
    names = Metrics.model_fields
    table = Table("", *names, title=f"on {comparison.rows} held-out rows")
    for who in ("challenger", "champion"):
        if metrics := getattr(comparison, who):
            table.add_row(who, *(f"{getattr(metrics, name):.4f}" for name in names))
    return table


def _cells(model: Model, previous: int | None) -> list[str | Text]:
    """Return a version's row in the table of all."""
    is_previous = model.version == previous
    return [
        str(model.version),
        "active" if model.active else "previous" if is_previous else "",
        f"{model.created_at:%Y-%m-%d %H:%M}",
        str(model.rows),
        f"{model.metrics.mse:.4f}",
        f"{model.metrics.accuracy:.4f}",
        Text(model.note or ""),
    ]


def _show_model(model: Model) -> None:
    facts = model.model_dump(mode="json")
    metrics, config = facts.pop("metrics"), facts.pop("config")
    for name, value in {**facts, **metrics, **config}.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        output.print(Text(f"{name:<17}  {text}"))


def _show_active(model: ActiveModel, *, as_json: bool) -> None:
    if as_json:
        output.print_json(model.model_dump_json())
    else:
        before = f"; before it, {model.previous} did" if model.previous else ""
        output.print(f"version {model.version} serves{before}")
