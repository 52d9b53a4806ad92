"""Whom to train on: how people get into the page at / and what becomes of them."""

import json
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, Request, Route, expect

from model import sample, sample_csv
from tests.browser.home import PEOPLE, open_home, serving
from tests.server import Server

pytestmark = pytest.mark.usefixtures("as_shipped")

SMALL: Final = "".join(sample_csv(30, 0))
PASTE: Final = """(area, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    const options = {clipboardData, bubbles: true, cancelable: true};
    return area.dispatchEvent(new ClipboardEvent("paste", options));
}"""
DROP: Final = """(body, text) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([text], "dropped.csv"));
    return ["dragover", "drop"].map((name) => body.dispatchEvent(
        new DragEvent(name, {dataTransfer, bubbles: true, cancelable: true})));
}"""
MADE_UP: Final = """async () => {
    const {CLUSTERS} = await import("/static/page/people.js");
    return CLUSTERS;
}"""


def field(content: str = "") -> FilePayload:
    """Return a CSV file."""
    return {"name": "mine.csv", "mimeType": "text/csv", "buffer": content.encode()}


def is_preview(request: Request) -> bool:
    """Whether a request asks what a training would be."""
    return "dry_run" in parse_qs(urlsplit(request.url).query)


def fill(page: Page, content: str) -> None:
    """Type a CSV and wait for its preview."""
    page.get_by_label("CSV: type").fill(content)
    expect(page.locator("#facts")).to_contain_text("people")


def test_an_emptied_field_leaves_nothing_of_a_preview(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    fill(page, PEOPLE)

    page.get_by_label("CSV: type").fill("")

    expect(page.locator("#facts")).to_be_empty()
    expect(page.locator("#champion")).to_be_hidden()
    expect(page.locator("#source")).to_contain_text("Columns: weight_lb")


def test_an_empty_file_leaves_nothing_of_a_preview(page: Page, server: Server) -> None:
    open_home(page, server)
    fill(page, PEOPLE)

    page.get_by_label("CSV file").set_input_files(field())

    expect(page.locator("#source")).to_have_text("mine.csv is empty.")
    expect(page.locator("#facts")).to_be_empty()
    expect(page.get_by_label("CSV: type")).to_have_value("")


def test_much_that_is_pasted_is_taken_as_a_file(page: Page, server: Server) -> None:
    open_home(page, server)
    content = "".join(sample_csv(25_000, 0))

    is_field_s = page.get_by_label("CSV: type").evaluate(PASTE, content)

    assert not is_field_s
    expect(page.locator("#source")).to_have_text("Training on pasted text.")
    expect(page.locator("#facts")).to_contain_text("people25,000")
    expect(page.get_by_label("CSV: type")).to_have_value("")
    assert page.get_by_label("CSV: type").evaluate(PASTE, SMALL)


def test_a_file_may_be_dropped_anywhere(page: Page, server: Server) -> None:
    open_home(page, server)

    is_browser_s = page.locator("body").evaluate(DROP, SMALL)

    assert is_browser_s == [False, False]
    expect(page.locator("#source")).to_have_text("Training on dropped.csv.")
    expect(page.get_by_label("CSV: type")).to_have_value(SMALL)


def test_a_file_is_sent_as_it_is(page: Page, server: Server) -> None:
    open_home(page, server)

    with page.expect_request(is_preview) as asked:
        page.get_by_label("CSV file").set_input_files(field("\ufeff" + SMALL))

    answer = server.client.post(
        "/train?dry_run=true",
        content="\ufeff" + SMALL,
        headers={"Content-Type": "text/csv"},
    )
    response = asked.value.response()
    assert response
    assert response.status == answer.status_code
    assert response.json().keys() == answer.json().keys()


def test_only_what_a_preview_depends_on_asks_for_another(
    page: Page, server: Server
) -> None:
    page.clock.install()
    open_home(page, server)
    fill(page, PEOPLE)
    page.get_by_text("Settings").click()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if is_preview(one) else None)

    page.get_by_label("Note").fill("a note")
    page.get_by_label("The new version serves").select_option("never")
    page.clock.run_for(1_000)
    with page.expect_request(is_preview):
        page.get_by_label("Seed").fill("5")
        page.get_by_label("Seed").blur()

    assert [parse_qs(urlsplit(url).query) for url in asked] == [
        {"dry_run": ["true"], "seed": ["5"]}
    ]


def test_a_start_ends_the_preview_that_still_runs(page: Page, server: Server) -> None:
    open_home(page, server)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(lambda url: "dry_run" in url, hold)
    with page.expect_request(is_preview):
        page.get_by_label("CSV: type").fill(PEOPLE)

    with page.expect_event("requestfailed", is_preview):
        page.get_by_role("button", name="Train").click()

    expect(page.locator("#outcome")).to_contain_text("Promoted")
    expect(page.locator("#training-problem")).to_be_empty()


def test_a_wrong_setting_is_brought_to_sight(page: Page, server: Server) -> None:
    open_home(page, server)
    page.get_by_text("Settings").click()
    page.get_by_label("Epochs").fill("0")
    page.get_by_text("Settings").click()
    expect(page.get_by_label("Epochs")).to_be_hidden()
    page.get_by_label("CSV: type").fill(PEOPLE)

    page.get_by_role("button", name="Train").click()

    expect(page.get_by_label("Epochs")).to_be_focused()


def test_a_fault_of_a_setting_names_it(page: Page, server: Server) -> None:
    open_home(page, server)
    page.get_by_role("button", name="The article’s four").click()  # noqa: RUF001
    page.get_by_text("Settings").click()

    page.get_by_label("Epochs").fill("0")
    page.get_by_label("Epochs").blur()

    cells = page.locator("#fault-rows td")
    expect(cells.nth(1)).to_have_text("epochs")


def test_a_tiny_learning_rate_may_be_asked_for(page: Page, server: Server) -> None:
    open_home(page, server)
    page.get_by_text("Settings").click()
    page.get_by_label("Learning rate").fill("0.00005")
    page.get_by_label("The new version serves").select_option("never")
    page.get_by_label("CSV: type").fill(SMALL)

    page.get_by_role("button", name="Train").click()

    expect(page.locator("#outcome")).to_contain_text("Kept")


def test_the_points_are_those_that_the_version_was_trained_on(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    points = page.locator("#surface")
    expect(points).to_have_attribute("data-people", "4")
    fill(page, PEOPLE)
    page.get_by_role("button", name="Train").click()
    expect(points).to_have_attribute("data-people", "500")
    version = serving(server)

    fill(page, SMALL)
    page.get_by_label("The new version serves").select_option("never")
    page.get_by_role("button", name="Train").click()
    expect(page.locator("#outcome")).to_contain_text("as was asked for")
    expect(page.locator("#version-rows tr").nth(1)).to_contain_text("serves now")

    page.reload()
    expect(points).to_have_attribute("data-version", str(version))
    expect(points).to_have_attribute("data-people", "500")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(points).to_have_attribute("data-version", str(version))
    expect(page.locator("#version-rows")).to_contain_text("serves now")
    expect(points).to_have_attribute("data-people", "0")
    expect(page.locator("#crowd")).to_be_empty()


def test_the_page_makes_people_up_as_the_command_does(
    page: Page, server: Server
) -> None:
    open_home(page, server)

    clusters = page.evaluate(MADE_UP)

    assert clusters == json.loads(json.dumps(sample._CLUSTERS))  # noqa: SLF001
