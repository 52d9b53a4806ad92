"""How pytest runs the tests for mutants: the fast ones, and with what they share.

mutmut runs for a mutant the tests that called its function. What a shared fixture
called counts for every test that uses the fixture, not for the first alone.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import Phase, settings
from mutmut.state import state

SERVERS: Final = frozenset({"server", "trainers", "keyed", "exposed", "guessed"})
LONG_SECONDS: Final = 0.05

settings.register_profile(  # an example that fails is enough, be it the smallest or not
    "mutants",
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    database=None,
)
settings.load_profile("mutants")

_calls: defaultdict[str, set[str]] = defaultdict(set)  # of each fixture, by its name


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what needs a server or a PostgreSQL; what takes long comes last."""
    seconds = state().duration_by_test
    left_out = [item for item in items if _needs_process(item)]
    kept = [item for item in items if not _needs_process(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = sorted(kept, key=lambda item: seconds.get(item.nodeid, 0) > LONG_SECONDS)


def _needs_process(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    fixtures = SERVERS.intersection(_fixtures(item)) - parameters.keys()
    return bool(fixtures) or "postgresql" in item.nodeid


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """Note what a fixture calls."""
    called = state()._stats  # noqa: SLF001 - where mutmut notes calls
    before = set(called)
    called.clear()
    try:
        return (yield)
    finally:
        _calls[fixturedef.argname] |= called
        called |= before


def pytest_runtest_call(item: pytest.Item) -> None:
    """Count what the fixtures called as called by the test."""
    for name in _fixtures(item):
        state()._stats.update(_calls[name])  # noqa: SLF001


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", []))
