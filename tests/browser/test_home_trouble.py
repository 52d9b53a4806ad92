"""What the page at / says when something is not as it should be."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import text

from app.store import Store
from tests.app.training import ENDLESS, cancel_all
from tests.browser.home import PEOPLE, open_home
from tests.server import Server

KEYS = {"OFFSETNET_ADMIN_KEY": "schlüssel", "OFFSETNET_PREDICT_KEY": "guess"}

REMEMBER_BANNER = """() => {
    window.said = [];
    new MutationObserver(() => said.push(banner.textContent)).observe(
        banner, {childList: true, subtree: true});
}"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may stop."""
    with Server(tmp_path / "data") as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants keys."""
    data_dir = tmp_path_factory.mktemp("locked") / "data"
    with Server(data_dir, environment=KEYS) as server:
        yield server


def type_key(page: Page, key: str) -> None:
    """Give the page a key."""
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use it").click()


def test_a_key_is_asked_for_and_used(page: Page, locked: Server) -> None:
    page.goto(f"http://127.0.0.1:{locked.port}/")
    expect(page.locator("#key-wanted")).to_contain_text("a valid key is needed")
    expect(page.locator("#by-version")).to_be_empty()

    type_key(page, "guess")

    expect(page.locator("#probability")).to_have_text("95 %")
    expect(page.locator("#surface[data-version='1']")).to_be_visible()
    expect(page.locator("tr[data-version='1']")).to_be_visible()
    expect(page.locator("#key-form")).to_be_hidden()


def test_a_key_for_predicting_does_not_train_but_an_admin_s_does(
    page: Page, locked: Server
) -> None:
    page.goto(f"http://127.0.0.1:{locked.port}/")
    type_key(page, "guess")
    expect(page.locator("#probability")).to_have_text("95 %")
    page.get_by_label("CSV: type").fill(PEOPLE)
    expect(page.locator("#key-wanted")).to_contain_text("may predict and read only")

    type_key(page, "schlüssel")
    page.get_by_role("button", name="Train").click()

    expect(page.locator("#outcome")).to_contain_text("Promoted")


def test_a_wrong_key_is_told_and_a_right_one_forgotten(
    page: Page, locked: Server
) -> None:
    page.goto(f"http://127.0.0.1:{locked.port}/")
    type_key(page, "wrong")
    expect(page.locator("#key-wanted")).to_contain_text("a valid key is needed")
    type_key(page, "guess")
    expect(page.locator("#key-form")).to_be_hidden()

    page.get_by_role("button", name="Forget the key").click()

    expect(page.locator("#key-wanted")).to_contain_text("a valid key is needed")
    assert page.evaluate("sessionStorage.getItem('key')") == ""
    assert page.evaluate("Object.keys(localStorage)") == []


def test_after_a_key_is_given_the_focus_is_at_what_is_said_of_it(
    page: Page, locked: Server
) -> None:
    page.goto(f"http://127.0.0.1:{locked.port}/")

    type_key(page, "guess")

    expect(page.locator("#key-wanted")).to_contain_text("A key is sent")
    expect(page.locator("#key-wanted")).to_be_focused()


def test_a_key_that_no_header_carries_is_not_taken(page: Page, locked: Server) -> None:
    page.goto(f"http://127.0.0.1:{locked.port}/")

    type_key(page, "gu\x01ess")

    expect(page.locator("#key-wanted")).to_contain_text("no request may carry")
    assert page.evaluate("sessionStorage.getItem('key')") is None


def test_no_key_is_asked_for_where_none_helps(page: Page, own: Server) -> None:
    page.set_extra_http_headers({"X-Forwarded-For": "192.0.2.1"})
    open_home(page, own)

    page.get_by_label("CSV: type").fill(PEOPLE)

    expect(page.locator("#key-wanted")).to_contain_text("No key opens this")
    expect(page.locator("#key-form")).to_be_hidden()


def test_a_server_that_does_not_answer_is_told_of_until_it_does(
    page: Page, own: Server
) -> None:
    open_home(page, own)
    banner = page.get_by_role("alert")
    expect(banner).to_be_hidden()

    own.process.send_signal(signal.SIGSTOP)
    expect(banner).to_contain_text("cannot be reached")
    own.process.send_signal(signal.SIGCONT)

    expect(banner).to_be_hidden(timeout=15_000)


def test_a_job_is_followed_over_a_restart(page: Page, own: Server) -> None:
    own.client.post("/train", json=ENDLESS)
    open_home(page, own)
    expect(page.locator("#outcome")).to_have_text("Training.")

    page.evaluate(REMEMBER_BANNER)
    own.stop()
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("cannot be reached")
    assert "is stopping" in "".join(page.evaluate("said"))

    with Server(own.data_dir, port=own.port) as again:
        expect(banner).to_be_hidden()
        expect(page.locator("#outcome")).to_contain_text("Training")
        cancel_all(again)
        expect(page.locator("#outcome")).to_contain_text("Cancelled")


def test_a_draining_server_is_told_of(page: Page, server: Server) -> None:
    page.route("**/readyz", lambda route: refuse(route, "draining", "it stops"))

    open_home(page, server)

    expect(page.get_by_role("alert")).to_contain_text("is stopping")


def refuse(route: Route, code: str, detail: str) -> None:
    """Answer with a problem of 503, as the server does under load or at its end."""
    route.fulfill(
        status=503,
        json={"status": 503, "code": code, "detail": detail},
        headers={"Retry-After": "7", "Content-Type": "application/problem+json"},
    )


def test_without_its_database_the_server_is_told_to_be_degraded(
    page: Page, own: Server
) -> None:
    open_home(page, own)
    store = Store(own.settings())
    with store.write() as connection:
        for table in ("jobs", "active"):
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {table}_aside"))
    store.close()

    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("The database does not answer")
    page.get_by_role("slider", name="Weight").press("End")
    expect(page.locator("#label")).to_have_text("M")


def test_how_long_to_wait_is_told(page: Page, server: Server) -> None:
    open_home(page, server)
    page.route(
        "**/predict?*", lambda route: refuse(route, "busy", "too many <b>ask</b>")
    )

    page.get_by_role("slider", name="Weight").press("End")

    problem = page.locator("#prediction-problem")
    expect(problem).to_have_text("too many <b>ask</b> It asks to wait 7 s.")


def test_nothing_is_asked_while_nobody_looks(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    open_home(page, server)
    page.clock.run_for(5_000)
    expect(page.locator("tr[data-version='1']")).to_be_visible()

    hide(page, is_hidden=True)
    page.clock.run_for(5_000)
    asked.clear()
    page.clock.run_for(60_000)

    assert asked == []
    with page.expect_response("**/models"):
        hide(page, is_hidden=False)


def hide(page: Page, *, is_hidden: bool) -> None:
    """Put the tab into the background, or back."""
    page.evaluate(
        """(value) => {
            Object.defineProperty(document, "hidden", {value, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )
