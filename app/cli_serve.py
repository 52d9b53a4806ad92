"""The command line's `serve` and `runner`: what runs until it is stopped."""

import asyncio
import copy
import gc
import logging.config
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from uvicorn.config import LOGGING_CONFIG, STARTUP_FAILURE

from app import logs, settings
from app.auth import Guard
from app.lazily import lazily
from app.standalone import train_only
from app.store import Store, StoreError
from app.transport import BoundedProtocol
from app.workers import Workers

if TYPE_CHECKING:
    from app import terminal
else:
    terminal = lazily("app.terminal")

GRACEFUL_SECONDS: Final = 14  # and 5 more for the runner
WORKER_SECONDS: Final = 30  # to start in on a busy machine; else it is started anew

_MEMORY: Final = "/dev/shm"  # noqa: S108 - a file of our own there
_ROOT_PATH: Final = re.compile("(/[A-Za-z0-9._~-]+)*/?")

DataDir = Annotated[Path | None, typer.Option(help="Folder for the data.")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="postgresql://..., in place of the folder's SQLite.")
]
LogFormat = Annotated[
    settings.LogFormat | None, typer.Option(help="Readable lines or JSON.")
]

logger = logging.getLogger(__name__)


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    root_path: Annotated[
        str, typer.Option(help="Path under which a proxy publishes this.")
    ] = "",
    with_runner: Annotated[
        bool | None,
        typer.Option("--runner/--no-runner", help="Train, too, in a process beside."),
    ] = None,
    access_log: Annotated[bool | None, typer.Option(help="Log each request.")] = None,
    log_format: LogFormat = None,
    tracing: Annotated[
        bool | None, typer.Option(help="Trace requests with OpenTelemetry.")
    ] = None,
) -> None:
    """Answer predictions over HTTP, and retrain in the background.

    The documentation, where everything can be tried out, is at /docs below the
    address. What is trained stays in the data folder, or in the database. Only
    loopback is listened on, and only there training needs no key: set
    OFFSETNET_ADMIN_KEY before others reach it. Ctrl-C stops it and loses nothing.
    """
    if not _ROOT_PATH.fullmatch(root_path):
        terminal.usage("--root-path: expected a path such as /offsetnet")
    _publish(
        data_dir=data_dir,
        database_url=database_url,
        runner=with_runner,
        access_log=access_log,
        log_format=log_format,
        tracing=tracing,
    )
    chosen = _read_settings()
    log_config = _log_config(chosen.log_format)
    logging.config.dictConfig(log_config)
    _check(chosen)
    if workers == 1:
        gc.disable()  # until the service is open
    _run(
        chosen,
        host=host,
        port=port,
        workers=workers,
        root_path=root_path.rstrip("/"),
        log_config=log_config,
    )


def runner(
    *,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    log_format: LogFormat = None,
) -> None:
    """Only train: take jobs until stopped.

    It works on the jobs of the servers that share its data folder or database:
    one more machine for training. A server has a runner of its own already.
    """
    _publish(data_dir=data_dir, database_url=database_url, log_format=log_format)
    chosen = _read_settings()
    logs.to_stderr(chosen.log_format, "%(message)s")
    _check(chosen)
    asyncio.run(train_only(chosen))


def _run(chosen: settings.Settings, workers: int, **options: Any) -> None:
    """Serve until told to stop, with these options of uvicorn's."""
    signal.signal(signal.SIGTERM, _exit_cleanly)
    name = "app.access_log" if chosen.access_log else "app.main"
    served: dict[str, Any] = {
        "app": f"{name}:create_app",
        "factory": True,
        "workers": workers,
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "access_log": False,
        "proxy_headers": chosen.access_log,  # only the log says who asked
        "server_header": False,
        "timeout_keep_alive": chosen.keep_alive_seconds,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
        "timeout_worker_healthcheck": WORKER_SECONDS,
        **options,
    }
    with _failure_as_1(), _shared_metrics(workers):
        if workers == 1:
            uvicorn.run(**served)
        else:
            _run_workers(uvicorn.Config(**served))


def _run_workers(config: uvicorn.Config) -> None:
    """Serve with several processes; uvicorn ends with 0 even if they cannot start."""
    workers = Workers(config)
    workers.run()
    if workers.has_failed:
        sys.exit(STARTUP_FAILURE)


def _publish(**flags: object) -> None:
    """Let the flags win over the environment, here and in the processes below."""
    given = {name: value for name, value in flags.items() if value is not None}
    settings.publish(**given)


def _log_config(log_format: settings.LogFormat) -> dict[str, Any]:
    """Return uvicorn's own, with our loggers and formats."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["access"] = {"()": "app.logs.RequestFormatter"}
    if log_format == "json":
        json = {"()": "app.logs.JsonFormatter"}
        config["formatters"] = dict.fromkeys(config["formatters"], json)
    for name, handler in {"app": "default", "app.access_log": "access"}.items():
        config["loggers"][name] = {
            "handlers": [handler],
            "level": "INFO",
            "propagate": False,
        }
    config["root"] = {"handlers": ["default"], "level": "WARNING"}
    return config


def _read_settings() -> settings.Settings:
    """Return the settings, or say what is wrong with them."""
    try:
        return settings.Settings()
    except ValidationError as error:
        terminal.fail(*settings.describe(error))


def _check(chosen: settings.Settings) -> None:
    """Find what else is wrong before anything is started."""
    try:
        Guard(chosen)
        _check_store(chosen)
        chosen.lock_path.open("a").close()
    except (StoreError, OSError) as error:
        terminal.fail(str(error))


def _check_store(chosen: settings.Settings) -> None:
    """Find what is wrong with the database; a server may be away and come."""
    store = Store(chosen)
    try:
        store.prepare()
    except DBAPIError as error:
        logger.warning("the database does not answer: %s", error.orig)
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
