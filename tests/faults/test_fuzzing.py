"""The fuzzers in a short form, on a server of their own: they train and activate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import contract
from tests.server import Server


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may be asked anything."""
    data_dir = tmp_path_factory.mktemp("fuzzed") / "data"
    with Server(data_dir, environment={"OFFSETNET_LOG_FORMAT": "json"}) as running:
        yield running


def test_the_openapi_document_tells_the_truth(fuzzed: Server, tmp_path: Path) -> None:
    seen = contract.ask(fuzzed, tmp_path, 12, 0, phases="fuzzing")

    assert seen["test_cases"]["generated"] >= 300
    assert contract.wrong(seen, fuzzed) == []
