"""Jobs on the page at /: whichever runs, and what became of the last one."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.app.training import BRIEF, ENDLESS, FOUR, activate, start
from tests.browser.home import PEOPLE, open_home, train
from tests.server import Server

pytestmark = pytest.mark.usefixtures("as_shipped")


def test_a_job_of_one_epoch_shows_its_own_losses(page: Page, server: Server) -> None:
    open_home(page, server)
    train(page, PEOPLE)
    page.get_by_text("Settings").click()
    page.get_by_label("Epochs").fill("1")

    train(page, PEOPLE + "150,66,F\n")

    job = server.client.get("/train?limit=1").json()["jobs"][0]
    losses = page.locator("#losses")
    expect(losses).to_contain_text(f"train loss {job['train_loss']:.4g}")
    expect(losses).to_contain_text(f"holdout loss {job['holdout_loss']:.4g}")


def test_a_job_that_somebody_else_starts_is_shown(page: Page, server: Server) -> None:
    open_home(page, server)

    job = server.client.post("/train", json=BRIEF).json()

    expect(page.locator("#job-title")).to_have_text(f"Job {job['id']}")
    expect(page.locator("#outcome")).to_contain_text("Kept")
    page.reload()
    expect(page.locator("#job-title")).to_have_text(f"Job {job['id']}")
    expect(page.locator("#outcome")).to_contain_text("Kept")


def test_the_job_that_runs_is_shown_before_those_that_wait(
    page: Page, server: Server
) -> None:
    running = start(server, **ENDLESS)
    server.client.post("/train", json=ENDLESS)

    open_home(page, server)

    expect(page.locator("#job-title")).to_have_text(f"Job {running}")


def test_late_news_do_not_replace_a_job_that_was_just_started(
    page: Page, server: Server
) -> None:
    late = server.client.post("/train", json=BRIEF).json()
    server.wait_for_job(late["id"])
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/train?*limit=1", hold)
    open_home(page, server)
    train(page, PEOPLE)
    title = page.locator("#job-title").inner_text()
    assert title != f"Job {late['id']}"

    assert len(held) == 2
    for route in held:
        route.fulfill(json={"jobs": [{**late, "state": "running"}], "next": None})
    page.wait_for_function(
        "performance.getEntriesByType('resource').filter("
        "({name}) => name.includes('limit=1')).length >= 2"
    )
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))")

    assert page.locator("#job-title").inner_text() == title


def test_the_first_epoch_of_the_curve_is_the_first_of_the_history(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    train(page, PEOPLE)

    job = server.client.get("/train?limit=1").json()["jobs"][0]

    axis = page.locator("#curve text[text-anchor=start]")
    expect(axis).to_have_text(f"epoch {job['history'][0][0]}")
    points = page.locator("#curve polyline.train")
    expect(points).to_have_attribute("points", re.compile(r"^64\.0,"))


def test_after_a_cancel_the_focus_is_at_the_outcome(page: Page, server: Server) -> None:
    start(server, **ENDLESS)
    open_home(page, server)
    page.get_by_role("button", name="Cancel").click()

    expect(page.locator("#outcome")).to_have_text("Cancelled; it made no version.")
    expect(page.locator("#outcome")).to_be_focused()


def test_other_versions_leave_focus_and_question_alone(
    page: Page, server: Server
) -> None:
    first, second = (_kept_version(server) for _ in range(2))
    open_home(page, server)
    page.get_by_role("button", name=f"Activate to version {first}", exact=True).click()
    expect(page.get_by_role("button", name="Yes")).to_be_focused()
    other = page.get_by_role("button", name=f"Activate to version {second}", exact=True)
    other.focus()

    third = _kept_version(server)

    expect(page.locator(f"tr[data-version='{third}']")).to_be_visible()
    expect(other).to_be_focused()
    activate(server, third)
    back = page.get_by_role("button", name=f"Roll back to version {second}", exact=True)
    expect(back).to_be_focused()
    expect(page.get_by_role("button", name="Yes")).to_be_visible()
    rows = page.locator("#version-rows tr")
    shown = rows.evaluate_all("all => all.map(({dataset}) => +dataset.version)")
    assert shown == sorted(shown, reverse=True)


def _kept_version(server: Server) -> int:
    job = server.client.post("/train", json={**BRIEF, "examples": FOUR}).json()
    version: int = server.wait_for_job(job["id"])["model_version"]
    return version
