"""The page below a path prefix, behind proxies that strip it and that do not."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.home import PEOPLE
from tests.proxy import PREFIX, proxy
from tests.server import Server


@pytest.fixture(scope="module")
def prefixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is told its prefix."""
    data_dir = tmp_path_factory.mktemp("prefix") / "data"
    with Server(data_dir, "--root-path", PREFIX) as running:
        yield running


@pytest.mark.parametrize("slash", ["/", ""], ids=["slash", "bare"])
@pytest.mark.parametrize("strips", [True, False], ids=["stripped", "unstripped"])
def test_it_works_below_a_prefix(
    page: Page, prefixed: Server, *, strips: bool, slash: str
) -> None:
    with proxy(f"http://127.0.0.1:{prefixed.port}", strips=strips) as between:
        page.goto(f"{between.url}{PREFIX}{slash}")
        page.locator("#surface[data-version]").wait_for()
        page.get_by_label("CSV: type").fill(PEOPLE)
        expect(page.locator("#facts")).to_contain_text("people500")
        links = page.locator("nav a").evaluate_all("all => all.map(({href}) => href)")
        page.goto("about:blank")

        assert {path[: len(PREFIX)] for path in between.paths} == {PREFIX}
        assert links == [
            f"{between.url}{PREFIX}/{end}" for end in ("docs", "openapi.json")
        ]


def test_it_works_behind_a_proxy_that_the_server_was_not_told_of(
    page: Page, server: Server
) -> None:
    with proxy(f"http://127.0.0.1:{server.port}", strips=True) as between:
        page.goto(f"{between.url}{PREFIX}/")
        page.locator("#surface[data-version]").wait_for()
        page.goto("about:blank")

        assert {path[: len(PREFIX)] for path in between.paths} == {PREFIX}
