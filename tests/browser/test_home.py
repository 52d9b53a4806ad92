"""The page at /, used by a person who has just come."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.home import (
    ask,
    expect_answer,
    open_home,
    percent,
    pixel,
    serving,
    train,
)
from tests.server import Server

CSS: Final = Path(__file__).parents[2] / "app" / "static" / "page" / "page.css"
ON_PAPER: Final = ("ink", "quiet", "accent")
PAIRS: Final = (
    *product(ON_PAPER, ("paper", "card")),
    *(("on-accent", "accent"), ("card", "f"), ("card", "m"), ("alert", "card")),
    *(("ink", "map-f"), ("ink", "map-middle"), ("ink", "map-m")),
    *(("alert", "alert-paper"), ("warn", "warn-paper"), ("warn", "card")),
)


STEP: Final = "weight_lb,height_in,label\n" + "".join(
    f"{weight},{height},{'F' if weight < 150 else 'M'}\n"
    for weight, height in product(range(100, 200, 2), range(56, 80, 2))
)
MAP: Final = """async (version) => {
    const {mapOf} = await import("/static/page/surface.js");
    const {crossings} = await mapOf(version);
    return [...crossings.values()];
}"""
NO_STORAGE: Final = """
    for (const name of ["localStorage", "sessionStorage"])
        Object.defineProperty(window, name, {get() { throw new Error("forbidden"); }});
"""


@pytest.fixture
def dark_page(browser: Browser) -> Iterator[Page]:
    """Open an empty page for a person who wants it dark."""
    page = browser.new_page(color_scheme="dark")
    yield page
    page.close()


@pytest.fixture(params=[320, 360, 600, 900])
def narrow_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open an empty page on a phone, and on wider ones."""
    page = browser.new_page(viewport={"width": request.param, "height": 740})
    yield page
    page.close()


def test_the_prediction_follows_a_slider_that_keys_move(
    page: Page, server: Server
) -> None:
    open_home(page, server)

    page.get_by_role("slider", name="Weight").focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")

    expect(page.locator("#weight-shown")).to_have_text("135 lb")
    expect_answer(page, ask(server, weight_lb=135, height_in=63))


def test_a_screen_reader_hears_the_prediction_once_it_rests(
    page: Page, server: Server
) -> None:
    open_home(page, server)

    page.get_by_role("slider", name="Height").fill("70")

    answer = ask(server, weight_lb=128, height_in=70)
    said = f"128 lb, 70 in: label {answer['label']}, probability of F "
    expected = said + percent(answer["probability"])
    expect(page.locator("[aria-live=polite]")).to_contain_text(expected)


def test_units_are_switched_and_remembered(page: Page, server: Server) -> None:
    open_home(page, server)

    page.get_by_label("kg, cm").check()

    expect_answer(page, ask(server, weight_kg=58, height_cm=160))
    expect(page.locator("#weight-shown")).to_have_text("58 kg")
    page.reload()
    expect(page.locator("#height-shown")).to_have_text("160 cm")
    expect(page.get_by_label("kg, cm")).to_be_checked()


def test_extrapolating_is_said_in_words(page: Page, server: Server) -> None:
    open_home(page, server)
    expect(page.locator("#extrapolating")).to_contain_text("Within the range")

    page.get_by_role("slider", name="Weight").press("End")

    expect(page.locator("#extrapolating")).to_contain_text("Extrapolating")


def test_the_map_has_a_side_for_each_label(page: Page, server: Server) -> None:
    open_home(page, server)

    f, m = pixel(page, 0.2, 0.3), pixel(page, 0.8, 0.3)

    assert f[2] > f[0]  # rather blue
    assert m[0] > m[2]  # rather orange


def test_a_click_on_the_map_moves_the_sliders(page: Page, server: Server) -> None:
    open_home(page, server)
    expect(page.locator(".answer")).to_contain_text("Label F")
    box = page.locator("#surface").bounding_box()
    assert box

    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])

    expect(page.locator("#label")).to_have_text("M")
    weight = float(page.get_by_role("slider", name="Weight").input_value())
    height = float(page.get_by_role("slider", name="Height").input_value())
    assert 200 < weight < 240
    assert 69 < height < 75
    expect_answer(page, ask(server, weight_lb=weight, height_in=height))


def test_the_map_can_be_read_as_a_table(page: Page, server: Server) -> None:
    open_home(page, server)

    page.get_by_text("The map as a table").click()

    table = page.get_by_role("table", name="Probability of F")
    expect(table.get_by_role("rowheader")).to_have_count(5)
    expect(table.get_by_role("cell").filter(has_text="%")).to_have_count(25)


def test_nothing_is_asked_of_a_third_party_and_the_console_is_silent(
    page: Page, server: Server
) -> None:
    hosts: set[str] = set()
    messages: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))

    open_home(page, server)
    page.get_by_role("slider", name="Weight").press("End")
    expect(page.locator("#extrapolating")).to_contain_text("Extrapolating")

    expect(page.locator("#figures")).to_be_visible()
    assert hosts == {f"127.0.0.1:{server.port}"}
    assert messages == []


@pytest.mark.usefixtures("as_shipped")
def test_the_line_on_the_map_is_where_the_answer_changes(
    page: Page, server: Server
) -> None:
    open_home(page, server)
    page.get_by_label("The new version serves").select_option("always")
    train(page, STEP)

    crossings = page.evaluate(MAP, serving(server))

    around = [
        {
            "weight_offset": 180 * (column + step * (row % 1 == 0)) / 29 - 55,
            "height_offset": 14 - 26 * (row + step * (row % 1 != 0)) / 29,
        }
        for column, row in crossings
        for step in (-0.06, 0.06)  # of the 6.2 lb and 0.9 in between two nodes
    ]
    answers = server.client.post("/predict/batch", json={"instances": around}).json()
    labels = [one["label"] for one in answers["predictions"]]
    assert len(crossings) > 20
    assert all(map(str.__ne__, labels[::2], labels[1::2]))
    assert any({column, row} & {0, 29} for column, row in crossings)


def test_colours_that_tell_something_stay_where_colours_are_forced(
    browser: Browser, server: Server
) -> None:
    page = browser.new_page(forced_colors="active")
    open_home(page, server)
    colours = page.evaluate(
        """() => [["#weight-bar"], ["#needle"], [".legend .f", "::before"]].map(
            ([selector, part]) => getComputedStyle(
                document.querySelector(selector), part).backgroundColor)"""
    )
    gradient = page.evaluate(
        "getComputedStyle(document.querySelector('.meter div')).backgroundImage"
    )
    page.close()

    assert colours == ["rgb(74, 63, 192)", "rgb(31, 29, 43)", "rgb(74, 63, 192)"]
    assert "gradient" in gradient


def test_a_browser_that_forbids_storage_gets_the_page_all_the_same(
    page: Page, server: Server
) -> None:
    page.add_init_script(NO_STORAGE)

    open_home(page, server)
    page.get_by_label("kg, cm").check()

    expect(page.locator("#weight-shown")).to_have_text("58 kg")


def test_nobody_need_scroll_sideways(narrow_page: Page, server: Server) -> None:
    open_home(narrow_page, server)
    train(narrow_page, "weight_lb,height_in,label\n1,2,F\n3,4,M\n", note="x" * 200)
    for summary in narrow_page.locator("summary").all():
        summary.click()
    narrow_page.locator("tr[data-version]").nth(1).wait_for()

    width = narrow_page.evaluate("document.documentElement.scrollWidth")

    assert narrow_page.viewport_size
    assert width == narrow_page.viewport_size["width"]


def test_dark_is_dark(page: Page, dark_page: Page, server: Server) -> None:
    open_home(page, server)
    open_home(dark_page, server)

    light, dark = map(_brightness, (page, dark_page))

    assert light > 600
    assert dark < 150
    assert pixel(page, 0.2, 0.3) != pixel(dark_page, 0.2, 0.3)


def _brightness(page: Page) -> int:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)))


@pytest.mark.parametrize(("ink", "paper"), PAIRS)
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(
    scheme: int, ink: str, paper: str
) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", _schemes()[scheme]))

    light, dark = sorted(map(_luminance, (colours[ink], colours[paper])), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _schemes() -> list[str]:
    return re.findall(r":root \{(.*?)\}", CSS.read_text(), re.DOTALL)


def _luminance(colour: str) -> float:
    """Return the relative luminance: WCAG 2.2, section 1.4.3."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        ((s + 0.055) / 1.055) ** 2.4 if s > 0.04045 else s / 12.92 for s in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
