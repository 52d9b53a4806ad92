"""The live figures of the page at /."""

import re
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.app.answers import EMILY
from tests.browser.home import open_home
from tests.server import Server

REQUESTS: Final = "http_server_request_duration_seconds"
PEOPLE: Final = "offsetnet_predictions_total"


def test_what_the_server_counts_is_shown(page: Page, server: Server) -> None:
    open_home(page, server)
    expect(page.locator("#figures")).to_be_visible()

    for _ in range(50):
        server.client.post("/predict", json=EMILY)

    expect(page.locator("#p50")).to_contain_text(" ms")
    expect(page.locator("#p99")).to_contain_text(" ms")
    counted = re.findall(
        rf'{PEOPLE}{{label="[FM]"}} (\d+)', server.client.get("/metrics").text
    )
    expect(page.locator("#predictions")).to_have_text(f"{sum(map(int, counted)):,}")


def histogram(*counts: int) -> str:
    """Write what the server answers after so many predictions up to each bound.

    Ten times as many were refused at once.
    """
    bounds = ("0.001", "0.002", "0.004", "+Inf")
    labels = 'http_response_status_code="200",http_request_method="POST"'
    buckets = [
        f'{REQUESTS}_bucket{{le="{bound}",{labels},http_route="/predict"}} {count}.0\n'
        for bound, count in zip(bounds, counts, strict=True)
    ]
    refused = labels.replace("200", "422")
    buckets += [
        f'{REQUESTS}_bucket{{le="{bound}",{refused},http_route="/predict"}} '
        f"{10 * counts[-1]}.0\n"
        for bound in bounds
    ]
    total = f'{PEOPLE}{{label="F"}} {counts[-1]}.0\n{PEOPLE}{{label="M"}} 900.0\n'
    total += f'{REQUESTS}_count{{http_route="/predict",{labels}}} {counts[-1]}.0\n'
    failed = labels.replace("200", "503")
    other = f'{REQUESTS}_count{{http_route="/train",{failed}}} 3\n'
    return f"# TYPE {REQUESTS} histogram\n{''.join(buckets)}{total}{other}"


def test_percentiles_are_of_what_came_since_the_page_looks(
    page: Page, server: Server
) -> None:
    answers = [histogram(1000, 1000, 1000, 1000), histogram(1000, 1050, 1100, 1100)]
    page.route(
        "**/metrics",
        lambda route: route.fulfill(body=answers.pop(0) if answers[1:] else answers[0]),
    )

    open_home(page, server)

    expect(page.locator("#p50")).to_have_text("2 ms")
    expect(page.locator("#p99")).to_have_text("4 ms")  # 3.96, in two digits
    expect(page.locator("#predictions")).to_have_text("2,000")
    expect(page.locator("#requests")).to_have_text("1,103")
    expect(page.locator("#failures")).to_have_text("3")


@pytest.mark.parametrize(
    ("status", "sentence"), [(404, "keeps no figures"), (401, "need a key")]
)
def test_without_figures_a_sentence_stands_in_their_place(
    page: Page, server: Server, status: int, sentence: str
) -> None:
    page.route("**/metrics", lambda route: route.fulfill(status=status, json={}))

    open_home(page, server)

    expect(page.locator("#figures-problem")).to_contain_text(sentence)
    expect(page.locator("#figures")).to_be_hidden()
