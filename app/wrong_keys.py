"""Wrong keys: how many of them each address sent within a minute.

A right key never comes here: it costs nothing more, and passes whatever its address has
sent. So this bounds what guessing and misconfigured clients ask for, and keeps nobody
out; what a key withstands is its length.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Final

MEMORY_SECONDS: Final = 60
MAX_ADDRESSES: Final = 1000  # beyond them all others are one: an attacker has many
NETWORK_BYTES: Final = 8  # of an IPv6 address: one customer has all of the rest


class WrongKeysError(Exception):
    """Too many wrong keys came from an address."""


class WrongKeys:
    """What one process remembers of wrong keys, for a minute."""

    def __init__(self, limit: int, clock: Callable[[], float] = monotonic) -> None:
        """Start with none.

        Args:
            limit: How many an address may send in a minute.
            clock: What tells the seconds.
        """
        self._limit, self._clock, self._began = limit, clock, -inf
        self._counts: Counter[bytes] = Counter()

    def count(self, client: tuple[str, int] | None) -> None:
        """Count one more.

        Args:
            client: Whose address it came from, where that is known.

        Raises:
            WrongKeysError: More came from there than may.
        """
        now = self._clock()
        if now - self._began > MEMORY_SECONDS:
            self._began = now
            self._counts.clear()
        network = _network(client[0]) if client else b""
        if len(self._counts) >= MAX_ADDRESSES and network not in self._counts:
            network = b""
        self._counts[network] += 1
        if self._counts[network] > self._limit:
            raise WrongKeysError("too many wrong keys came from this address")


def _network(host: str) -> bytes:
    """Return what tells the callers of addresses apart; "" for what is no address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return b""
    mapped = getattr(address, "ipv4_mapped", None)
    return bytes((mapped or address).packed[:NETWORK_BYTES])
