"""What both clients are made of."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from app.protocol import ClientError, address, authorization

SILENCE_SECONDS: Final = 45.0  # three pings of an event stream


class ClientSettings:
    """The server, the key and the times of a client."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | bytes | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
        on_wait: Callable[[ClientError], None] = lambda _: None,
    ) -> None:
        """Make it; nothing is connected yet, and the environment is not read.

        Args:
            base_url: Such as `http://127.0.0.1:8000`.
            key: An admin key, or for what only reads a predict key.
            timeout: Seconds that each step of an exchange may take.
            patience: Seconds without any sign of life after which to follow no job.
            on_wait: Called with a failure that may pass, before asking again.

        Raises:
            ValueError: The address or the key cannot be used.
        """
        self._patience, self._on_wait = patience, on_wait
        self._stream_timeout = httpx.Timeout(timeout, read=SILENCE_SECONDS)
        self._options: Mapping[str, Any] = {
            "base_url": address(base_url),
            "headers": authorization(key),
            "timeout": timeout,
            "trust_env": False,  # no proxy sees the key of a loopback connection
        }
