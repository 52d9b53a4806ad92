"""How long the transport waits for a client."""

from typing import NamedTuple, Self

from app.settings import Settings


class Patience(NamedTuple):
    """How long a connection is waited for, in seconds.

    Attributes:
        idle: For a whole head, or the next part of a body.
        request: For a whole request, and a second more for each MiB of its body.
        stall: For a client that reads nothing of its answer.
        keep_alive: For the next request.
    """

    idle: float
    request: float
    stall: float
    keep_alive: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take them from the settings."""
        return cls(
            settings.client_idle_seconds,
            settings.client_request_seconds,
            settings.client_stall_seconds,
            settings.keep_alive_seconds,
        )
