"""The page at /, as its tests use it."""

from typing import Any, Final

from playwright.sync_api import Page, Response, expect

from model import sample_csv
from tests.server import Server

PEOPLE: Final = "".join(sample_csv(500, 0))


def open_home(page: Page, server: Server) -> None:
    """Open the page and wait until it has asked for its first prediction and map."""
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.locator("#surface[data-version]").wait_for()


def ask(server: Server, **person: float) -> dict[str, Any]:
    """Return what the API answers about a person."""
    answer: dict[str, Any] = server.client.post(
        "/predict?explain=true", json=person
    ).json()
    return answer


def percent(share: float) -> str:
    """Write a share as the page does."""
    is_near_end = 0 < share < 0.01 or 0.99 < share < 1
    return f"{100 * share:.{1 if is_near_end else 0}f} %"


def expect_answer(page: Page, answer: dict[str, Any]) -> None:
    """Expect the page to come to show an answer of the API."""
    expect(page.locator("#probability")).to_have_text(percent(answer["probability"]))
    expect(page.locator("#label")).to_have_text(answer["label"])
    version = f"version {answer['model_version']}"
    expect(page.locator("#by-version")).to_have_text(version)
    for name in ("weight", "height"):
        points = f"{100 * answer['explanation'][name]:+.1f}".replace("-", "−")  # noqa: RUF001
        expect(page.locator(f"#{name}-share")).to_have_text(points)


def expect_version(page: Page, version: int) -> None:
    """Expect prediction, map and list to come from a version."""
    row = page.locator(f"tr[data-version='{version}'][data-active=true]")
    expect(row).to_contain_text("serves now")
    expect(page.locator("#by-version")).to_have_text(f"version {version}")
    expect(page.locator(f"#surface[data-version='{version}']")).to_be_visible()


def serving(server: Server) -> int:
    """Return the version that serves."""
    version: int = server.client.get("/models/active").json()["version"]
    return version


def train(page: Page, content: str, note: str = "") -> None:
    """Paste a CSV, train on it, and wait for the end."""
    page.get_by_label("CSV: type").fill(content)
    page.get_by_label("Note").fill(note)
    with page.expect_response(_is_start) as started:
        page.get_by_role("button", name="Train").click()
    title = f"Job {started.value.json()['id']}"
    expect(page.locator("#job-title")).to_have_text(title)
    page.locator("#job[data-state=succeeded]").wait_for()


def _is_start(response: Response) -> bool:
    return response.ok and "/train?promote=" in response.url


def pixel(page: Page, across: float, down: float) -> list[int]:
    """Return the colour of the map at a share of its width and height."""
    found: list[int] = page.locator("#surface").evaluate(
        """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
            Math.round(x * canvas.width), Math.round(y * canvas.height), 1, 1).data]""",
        [across, down],
    )
    return found
