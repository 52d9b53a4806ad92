"""The command line's `serve` and `runner`: what runs until it is stopped."""

import asyncio
import copy
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE

from app import settings
from app.auth import Guard
from app.lazily import lazily
from app.standalone import train_only
from app.store import Store, StoreError

if TYPE_CHECKING:
    from app import terminal
else:
    terminal = lazily("app.terminal")

GRACEFUL_SECONDS: Final = 14  # and 5 more for the runner
WORKER_SECONDS: Final = 30  # to start in on a busy machine; else it is started anew

_MEMORY: Final = "/dev/shm"  # noqa: S108 - a file of our own there

DataDir = Annotated[Path | None, typer.Option(help="Folder for the data.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="postgresql://..., in place of the folder's SQLite."),
]


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    access_log: Annotated[bool, typer.Option(help="Log each request.")] = False,
) -> None:
    """Answer predictions over HTTP, and retrain in the background."""
    _publish(data_dir, database_url)
    _check_settings()
    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["loggers"]["app"] = {"handlers": ["default"], "level": "INFO"}
    signal.signal(signal.SIGTERM, _exit_cleanly)
    if workers == 1:
        gc.disable()  # until the service is open
    with _failure_as_1(), _shared_metrics(workers):
        uvicorn.run(
            "app.main:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=access_log,
            proxy_headers=access_log,  # only the log says who asked
            server_header=False,
            log_config=log_config,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
            timeout_worker_healthcheck=WORKER_SECONDS,
        )


def runner(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Only train: take jobs until stopped."""
    _publish(data_dir, database_url)
    _check_settings()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    asyncio.run(train_only(settings.Settings()))


def _publish(data_dir: Path | None, database_url: str | None) -> None:
    """Let the flags win over the environment, here and in the processes below."""
    if data_dir is not None:
        settings.publish(data_dir=data_dir)
    if database_url is not None:
        settings.publish(database_url=database_url)


def _check_settings() -> None:
    """Find what is wrong with the settings before anything is started."""
    try:
        chosen = settings.Settings()
        Guard(chosen)
        _check_store(chosen)
        chosen.lock_path.open("a").close()
    except ValidationError as error:
        terminal.fail(*settings.describe(error))
    except (StoreError, OSError) as error:
        terminal.fail(str(error))


def _check_store(chosen: settings.Settings) -> None:
    """Find what is wrong with the database; a server may be away and come."""
    store = Store(chosen)
    try:
        store.prepare()
    except DBAPIError as error:
        terminal.notices.print(f"the database does not answer: {error.orig}")
    finally:
        store.close()


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Give several processes a file to add their metrics up in."""
    if workers == 1 or settings.Settings().metrics_file is not None:
        yield
        return
    in_memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with NamedTemporaryFile(prefix="offsetnet-metrics-", dir=in_memory) as file:
        settings.publish(metrics_file=file.name)
        yield


@contextmanager
def _failure_as_1() -> Iterator[None]:
    """End with status 1, as every failure here does, where uvicorn would with 3."""
    try:
        yield
    except SystemExit as error:
        if error.code == STARTUP_FAILURE:
            raise typer.Exit(1) from error
        raise


def _exit_cleanly(*_: object) -> NoReturn:
    """End with status 0 once the server has shut down and signals itself again."""
    sys.exit(0)
