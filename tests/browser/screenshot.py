"""Draw docs/page.png: the page at / after a training.

python -m tests.browser.screenshot [FILE]
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS
from tests.browser.home import PEOPLE, expect_version, open_home, train
from tests.server import Server

PICTURE = Path(__file__).parents[2] / "docs" / "page.png"


def main() -> None:
    """Serve, train on 500 people in the browser, and take the picture."""
    target = sys.argv[1] if sys.argv[1:] else str(PICTURE)
    with (
        TemporaryDirectory() as folder,
        Server(Path(folder) / "data") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1060, "height": 1110})
        open_home(page, server)
        train(page, PEOPLE)
        expect_version(page, 2)
        page.evaluate("csv.scrollTop = 0; document.activeElement.blur()")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    main()
