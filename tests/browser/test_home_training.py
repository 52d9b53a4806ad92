"""Training and versions on the page at /."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from model import sample_csv
from tests.app.training import ENDLESS, activate, newest
from tests.browser.home import PEOPLE, expect_version, open_home, serving, train
from tests.server import Server

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


pytestmark = pytest.mark.usefixtures("as_shipped")


def fill(page: Page, content: str) -> None:
    """Paste a CSV."""
    page.get_by_label("CSV: type").fill(content)


def test_a_preview_counts_the_people(page: Page, server: Server) -> None:
    open_home(page, server)

    fill(page, PEOPLE + "150,66,F\n150,66,M\n")

    expected = server.client.post(
        "/train?dry_run=true",
        content=PEOPLE + "150,66,F\n150,66,M\n",
        headers={"Content-Type": "text/csv"},
    ).json()
    facts = page.locator("#facts")
    expect(facts).to_contain_text("people502")
    labels = expected["labels"]
    expect(facts).to_contain_text(f"F and M{labels['F']} and {labels['M']}")
    expect(facts).to_contain_text(f"trained on{expected['split']['training']}")
    expect(facts).to_contain_text(f"held out{expected['split']['holdout']}")
    expect(page.locator("#warnings")).to_have_text("2 conflicting rows")
    expect(page.locator("#preview")).to_have_text(
        re.compile("^((?!conflict).)*conflict((?!conflict).)*$", re.DOTALL)
    )
    error = f"{expected['champion']['mse']:.4f}"
    expect(page.locator("#champion")).to_contain_text(error)
    assert serving(server) == 1


def test_a_preview_shows_what_is_wrong_by_row_and_column(
    page: Page, server: Server
) -> None:
    open_home(page, server)

    fill(page, "weight_lb,height_in,label\n133,65,F\nheavy,72,M\n120,60,?\n")

    rows = page.locator("#fault-rows tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("3weight_lb")
    expect(rows.nth(1)).to_contain_text("4label")
    expect(page.locator("#facts")).to_be_empty()


def test_people_are_trained_on_watched_and_rolled_back(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    expect_version(page, 1)

    train(page, PEOPLE)

    version = serving(server)
    assert version > 1
    outcome = page.locator("#outcome")
    expect(outcome).to_have_text(f"Promoted: version {version} came to serve.")
    curve = page.locator("#curve polyline.holdout")
    expect(curve).to_have_attribute("points", re.compile(r"^(\S+ ){10,}"))
    expect(page.locator("#comparison")).to_contain_text(
        f"new version {version}version 1, active then"
    )
    expect_version(page, version)
    expect(page.locator("#surface[data-people='500']")).to_be_visible()
    expect(page.locator("#crowd")).to_contain_text("people of job")

    page.get_by_role("button", name="Roll back to version 1", exact=True).click()
    page.get_by_role("button", name="Yes").click()

    expect_version(page, 1)
    assert serving(server) == 1


def test_few_people_are_kept_and_the_page_says_why(page: Page, server: Server) -> None:
    open_home(page, server)
    train(page, PEOPLE)
    version = serving(server)

    page.get_by_role("button", name="The article’s four").click()  # noqa: RUF001
    page.get_by_role("button", name="Train").click()

    expect(page.locator("#outcome")).to_contain_text(": below 20 people")
    assert serving(server) == version


def test_whom_to_promote_is_the_person_s_choice(page: Page, server: Server) -> None:
    open_home(page, server)
    page.get_by_label("The new version serves").select_option("never")

    train(page, PEOPLE)

    expect(page.locator("#outcome")).to_contain_text("as was asked for")
    assert serving(server) == 1


def test_settings_are_the_person_s_choice(page: Page, server: Server) -> None:
    open_home(page, server)
    page.get_by_text("Settings").click()
    page.get_by_label("Epochs").fill("7")
    page.get_by_label("Hidden units").fill("5")

    train(page, PEOPLE)

    job = server.client.get("/train?limit=1").json()["jobs"][0]
    assert (job["config"]["epochs"], job["config"]["hidden_units"]) == (7, 5)


def test_a_start_whose_answer_is_lost_is_one_job(page: Page, server: Server) -> None:
    before = newest(server.client)
    lost: list[Route] = []

    def lose(route: Route) -> None:
        if lost or "dry_run" in route.request.url:
            route.continue_()
            return
        lost.append(route)
        route.fetch()
        route.abort()

    open_home(page, server)
    page.route("**/train?promote=*", lose)
    train(page, PEOPLE)

    assert len(lost) == 1
    assert newest(server.client) == [(before or [0])[0] + 1]


def test_people_made_up_in_the_page_can_be_trained_on(
    page: Page, server: Server
) -> None:
    open_home(page, server)

    page.get_by_role("button", name="Sample 500 people").click()

    expect(page.locator("#facts")).to_contain_text("people500")


def test_a_file_can_be_chosen(page: Page, server: Server) -> None:
    open_home(page, server)

    content = "".join(sample_csv(25_000, 0)).encode()
    page.get_by_label("CSV file").set_input_files(
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": content}
    )

    expect(page.locator("#source")).to_have_text("Training on mine.csv.")
    expect(page.locator("#facts")).to_contain_text("people25,000")
    expect(page.get_by_label("CSV: type")).to_have_value("")


def test_f12_c17_hostile_text_is_shown_as_text(page: Page, server: Server) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    open_home(page, server)

    train(page, PEOPLE, note=HOSTILE)

    expect(page.locator("#job-note")).to_have_text(HOSTILE)
    expect(page.locator("#version-rows")).to_contain_text(HOSTILE)
    expect(page.locator("img, main script")).to_have_count(0)
    assert dialogs == []


def test_a_running_job_is_found_again_and_cancelled(page: Page, server: Server) -> None:
    server.client.post("/train", json=ENDLESS)
    open_home(page, server)
    expect(page.locator("#epochs-done")).to_contain_text("of at most 10000")

    page.get_by_role("button", name="Cancel").click()

    expect(page.locator("#outcome")).to_have_text("Cancelled; it made no version.")


def test_who_saw_an_old_list_is_told_that_nothing_was_changed(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    train(page, PEOPLE)
    listed = server.client.get("/models").json()
    page.route("**/models", lambda route: route.fulfill(json=listed))
    page.get_by_role("button", name="Roll back to version 1", exact=True).click()

    activate(server, serving(server))  # the same one: only the generation moves
    page.get_by_role("button", name="Yes").click()

    expect(page.locator("#activated")).to_contain_text("another version came to serve")
    assert serving(server) != 1


def test_a_change_of_versions_is_asked_about_first(page: Page, server: Server) -> None:
    open_home(page, server)
    train(page, PEOPLE)
    page.get_by_role("button", name="Roll back to version 1", exact=True).click()

    page.get_by_role("button", name="No", exact=True).click()

    button = page.get_by_role("button", name="Roll back to version 1", exact=True)
    expect(button).to_be_focused()
    assert serving(server) != 1
