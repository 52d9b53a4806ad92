"""The fuzzers in a short form, on a server of their own: they train and activate."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from model import load_shipped
from tests.faults import artifacts, contract, numerics, rawhttp
from tests.server import Server


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may be asked anything."""
    data_dir = tmp_path_factory.mktemp("fuzzed") / "data"
    with Server(data_dir, environment=rawhttp.ENVIRONMENT) as running:
        yield running


def test_the_openapi_document_tells_the_truth(fuzzed: Server, tmp_path: Path) -> None:
    seen = contract.ask(fuzzed, tmp_path, 12, 0, phases="fuzzing")

    assert contract.wrong(seen, fuzzed, fewest=300) == []


def test_no_bytes_disturb_the_server(fuzzed: Server) -> None:
    seen = asyncio.run(rawhttp.bombard(fuzzed, 1000, 0, warm=0))

    assert seen.requests >= 1000
    assert seen.wrong == []


def test_made_up_names_add_no_series(fuzzed: Server) -> None:
    _, added = asyncio.run(rawhttp.name(fuzzed, 200, 0))

    assert added == []


def test_no_damaged_artifact_is_taken() -> None:
    tried, wrong = artifacts.play(load_shipped(), 1000, 0)

    assert tried["header changed"] > 950
    assert wrong == []


def test_predictions_are_those_of_exact_arithmetic() -> None:
    worst = numerics.play(200, 0)

    assert sum(seen.predictions for seen in worst.values()) >= 2000
    assert max(worst[0.1].alone, worst[0.1].batch) <= 2
