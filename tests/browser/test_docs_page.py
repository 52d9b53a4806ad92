"""The documentation page, used by a person."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.proxy import PREFIX, proxy
from tests.server import Server

CLICK_ALL: Final = "all => all.forEach(one => one.click())"
EXPECTED: Final = {
    "predict-predict": 200,
    "train-train": 202,
    "train-get_job": 200,
    "train-follow_job": 200,
    "models-activate_model": 200,
    "models-get_model": 200,
    "models-get_weights": 200,
    "operations-problem": 200,
    "inference_v2-v2_infer": 200,
    "inference_v2-v2_infer_of_version": 200,
    "inference_v2-v2_describe_model": 200,
    "inference_v2-v2_index_repository": 200,
    "inference_v2-v2_unload_model": 501,
    "inference_v1-v1_predict": 200,
}


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


def test_every_operation_can_be_tried_as_it_opens(page: Page, server: Server) -> None:
    server.wait_for_job(server.client.post("/train").json()["id"])
    open_docs(page, server)
    groups = page.locator(".opblock-tag")
    groups.evaluate_all(CLICK_ALL)  # what is open is drawn anew at each change
    expect(page.locator(".opblock")).to_have_count(0)

    statuses: dict[str, int] = {}
    for group in groups.all():
        group.evaluate_all(CLICK_ALL)
        page.locator(".opblock").first.wait_for()
        statuses |= _try_all(page)
        group.evaluate_all(CLICK_ALL)
        expect(page.locator(".opblock")).to_have_count(0)

    assert len(statuses) >= 39
    assert statuses.items() >= EXPECTED.items()
    failed = {name for name, status in statuses.items() if status >= 500}
    assert failed == {"inference_v2-v2_unload_model"}


def _try_all(page: Page) -> dict[str, int]:
    """Try each operation that is shown, and return the status of its answer."""
    statuses = {}
    for name in page.locator(".opblock").evaluate_all("all => all.map(one => one.id)"):
        block = page.locator(f"#{name}")
        control = block.locator(".opblock-summary-control")
        control.evaluate_all(CLICK_ALL)
        block.locator(".execute").click()
        shown = block.locator(".live-responses-table tbody .response-col_status").first
        expect(shown).to_have_text(re.compile(r"^\s*\d{3}"))
        statuses[name.removeprefix("operations-")] = int(shown.inner_text().split()[0])
        control.evaluate_all(CLICK_ALL)
    return statuses


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
