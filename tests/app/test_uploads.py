"""Large CSVs: real people, and one large upload at a time."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.app.answers import CSV, assert_problem
from tests.app.training import SAMPLE, train_on_csv
from tests.server import Server, wait_for

PEOPLE: Final = (
    Path(__file__).parents[3] / "shared" / "data" / "heights_weights_genders.csv"
)


@pytest.fixture
def upload(trainer: Server) -> Iterator[socket.socket]:
    """Begin a large upload that does not go on."""
    with socket.create_connection(
        ("127.0.0.1", trainer.port), timeout=30
    ) as connection:
        connection.sendall(
            b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
            b"Content-Length: 10000000\r\n\r\nweight_lb,height_in,label\n"
        )
        yield connection


def refusal(client: httpx.Client) -> httpx.Response | None:
    """Send a second large upload, of no use, and return the answer if it is 503."""
    content = b"weight_lb,height_in\n" + b"\n" * 1_100_000
    response = client.post("/train", content=content, headers=CSV)
    return response if response.status_code == 503 else None


@pytest.mark.usefixtures("upload")
def test_a_second_large_upload_is_put_off(trainer: Server) -> None:
    response = wait_for(lambda: refusal(trainer.client))

    assert_problem(response, 503, "upload-busy")
    assert response.headers["Retry-After"] == "1"


@pytest.mark.usefixtures("upload")
def test_a_small_upload_needs_no_turn(trainer: Server) -> None:
    wait_for(lambda: refusal(trainer.client))

    query = "promote=never&epochs=1"
    response = trainer.client.post(f"/train?{query}", content=SAMPLE, headers=CSV)

    assert response.status_code == 202


def test_an_upload_that_is_cut_off_gives_its_turn_back(
    trainer: Server, upload: socket.socket
) -> None:
    wait_for(lambda: refusal(trainer.client))

    upload.close()

    wait_for(lambda: refusal(trainer.client) is None)


def test_ten_thousand_real_people_are_trained_on(trainer: Server) -> None:
    if not PEOPLE.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("the people are required here")
        pytest.skip("the file of people is not beside the repository")
    _, rows = PEOPLE.read_text().split("\n", 1)

    job = train_on_csv(trainer, "label,height_in,weight_lb\n" + rows)

    assert (job["state"], job["outcome"], job["rows"]) == (
        "succeeded",
        "promoted",
        10_000,
    )
    assert job["metrics"]["challenger"]["accuracy"] > 0.9
    trainer.wait_for_version(job["model_version"])
