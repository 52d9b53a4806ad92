"""The documentation page, used by a person."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.proxy import PREFIX, proxy
from tests.server import Server


def open_docs(page: Page, server: Server, published_at: str | None = None) -> None:
    """Open the page and wait until the operations are shown."""
    page.goto(f"{published_at or f'http://127.0.0.1:{server.port}'}/docs")
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
        pytest.param("inference_v2-v2_infer", "200", id="infer"),
        pytest.param("inference_v2-v2_infer_of_version", "200", id="of a version"),
        pytest.param("inference_v2-v2_describe_model", "200", id="metadata"),
        pytest.param("inference_v2-v2_index_repository", "200", id="index"),
        pytest.param("inference_v2-v2_unload_model", "501", id="unload"),
        pytest.param("inference_v1-v1_predict", "200", id="version 1"),
    ],
)
def test_try_it_out_succeeds(
    page: Page, server: Server, operation: str, status: str
) -> None:
    open_docs(page, server)

    shown = execute(page, operation)

    expect(shown).to_contain_text(status)


@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "unstripped"])
def test_try_it_out_stays_below_the_prefix(
    page: Page, tmp_path: Path, *, strips: bool
) -> None:
    with (
        Server(tmp_path / "data", "--root-path", PREFIX) as server,
        proxy(f"http://127.0.0.1:{server.port}", strips=strips) as between,
    ):
        open_docs(page, server, between.url + PREFIX)

        for operation, status in (("predict-predict", "200"), ("train-train", "202")):
            expect(execute(page, operation)).to_contain_text(status)

    assert {f"{PREFIX}/{name}" for name in ("docs", "predict", "train")} <= {
        *between.paths
    }
    assert all(path.startswith(f"{PREFIX}/") for path in between.paths)


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
