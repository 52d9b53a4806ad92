"""The command line's connection to a server: its keys, and what is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from pydantic import ValidationError

from app.client import Client
from app.protocol import ClientError, ProblemError, address
from app.settings import Settings, describe
from app.terminal import fail, notices, usage
from app.views import FieldError


@contextmanager
def connection(server: str, *, only_predicts: bool = False) -> Iterator[Client]:
    """Open a client, and show what the server refuses.

    Args:
        server: Its address.
        only_predicts: Whether the predict key is shown sooner than the admin key.
    """
    with _client(server, only_predicts=only_predicts) as client:
        try:
            yield client
        except ProblemError as error:
            is_unknown = error.status == HTTPStatus.NOT_FOUND
            has_path = address(server).path != "/"  # which may be wrong
            is_told = not error.code or (is_unknown and has_path)
            place = f"{server}: " if is_told else ""
            fail(f"{place}{error}", *map(_where, error.errors))
        except ClientError as error:
            fail(f"{server}: {error}")


def _client(server: str, *, only_predicts: bool) -> Client:
    try:
        settings = Settings()
    except ValidationError as error:
        fail(*describe(error))
    admin, predict = settings.all_admin_keys(), settings.all_predict_keys()
    keys = (*predict, *admin) if only_predicts else (*admin, *predict)
    try:
        key = keys[0] if keys else None
        return Client(server, key=key, on_wait=_telling_once(server))
    except ValueError as error:
        usage(str(error))


def _telling_once(server: str) -> Callable[[ClientError], None]:
    """Return what says, when there is a first wait, whom it is for."""
    waits: list[ClientError] = []

    def tell(error: ClientError) -> None:
        if not waits:
            notices.print(f"waiting for {server}", markup=False)
        waits.append(error)

    return tell


def _where(fault: FieldError) -> str:
    """Say where a fault is, and what it is."""
    row = None if fault.row is None else f"row {fault.row}"
    places = (row, fault.column, fault.parameter, fault.pointer)
    return ": ".join(filter(None, (", ".join(filter(None, places)), fault.detail)))
