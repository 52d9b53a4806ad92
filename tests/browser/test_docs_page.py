"""The documentation page, used by a person."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.server import Server


def open_docs(page: Page, server: Server) -> None:
    """Open the page and wait until the operations are shown."""
    page.goto(f"http://127.0.0.1:{server.port}/docs")
    page.locator(".opblock").first.wait_for()


def execute(page: Page, operation: str) -> Locator:
    """Open an operation, send its first example, and return the live response."""
    block = page.locator(f"#operations-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Execute").click()
    return block.locator(".live-responses-table tbody .response-col_status").first


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        pytest.param("predict-predict", "200", id="predict"),
        pytest.param("train-train", "202", id="train"),
    ],
)
def test_try_it_out_succeeds(
    page: Page, server: Server, operation: str, status: str
) -> None:
    open_docs(page, server)

    shown = execute(page, operation)

    expect(shown).to_contain_text(status)


def test_nothing_is_asked_of_a_third_party(page: Page, server: Server) -> None:
    hosts: list[str] = []
    page.on("request", lambda request: hosts.append(urlsplit(request.url).netloc))

    open_docs(page, server)

    assert len(hosts) > 3
    assert {host for host in hosts if host} == {f"127.0.0.1:{server.port}"}


def test_nothing_goes_wrong_on_the_console(page: Page, server: Server) -> None:
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))

    open_docs(page, server)
    execute(page, "predict-predict").wait_for()

    assert messages == []
