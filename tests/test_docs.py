"""README's sessions print what they say, and README names all that there is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from fastapi.routing import APIRoute

from app.api import ROUTES
from app.inference import ROUTES as PROTOCOL_ROUTES
from app.settings import PREFIX, Settings
from benchmarks import report
from tests import documents
from tests.documents import DOCS
from tests.server import Server

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
INTEROP: Final = (ROOT / "docs" / "interop.md").read_text()
EXAMPLES: Final = re.findall(
    r"```python\n(.*?)```\n\n```\n(.*?)```", README + INTEROP, re.DOTALL
)
PAGES: Final = sorted(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks")
    for page in folder.glob("*.md")
)
NUMBER: Final = re.compile(r"-?\d+\.\d+")


class Session(NamedTuple):
    """A console block: each command with what it prints."""

    needs_server: bool
    steps: list[tuple[str, str]]


def read_sessions() -> list[Session]:
    """Return the console blocks that are marked as sessions, with what continues."""
    joined = re.sub(
        r"```(?:(?!```).)*<!-- session: server, continued -->\n```console\n",
        "",
        README + INTEROP,
        flags=re.DOTALL,
    )
    blocks = re.findall(
        r"<!-- session(: server)? -->\n```console\n(.*?)```", joined, re.DOTALL
    )
    return [
        Session(
            bool(mark),
            [
                (step.partition("\n")[0], step.partition("\n")[2])
                for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
            ],
        )
        for mark, block in blocks
    ]


def run(command: str, folder: Path) -> str:
    """Run a command as a user would type it."""
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def split_numbers(text: str) -> tuple[str, list[float]]:
    """Return the text without its fractions, and the fractions."""
    return NUMBER.sub("#", text), [float(number) for number in NUMBER.findall(text)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "session", read_sessions(), ids=["server", "article", "version 1"]
)
def test_a_session_prints_what_readme_says(session: Session, tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "offsetnet").symlink_to(
        Path(sys.executable).with_name("offsetnet")
    )
    with Server(tmp_path / "data") as server:
        for command, expected in session.steps:
            here = command.replace("localhost:8000", f"localhost:{server.port}")

            text, numbers = split_numbers(run(here, tmp_path).replace("\r", ""))

            wanted_text, wanted_numbers = split_numbers(expected)
            assert text.strip() == wanted_text.strip(), command
            assert numbers == pytest.approx(wanted_numbers, abs=1e-3), command


def test_readme_has_its_sessions() -> None:
    sessions = read_sessions()

    assert [len(session.steps) for session in sessions] == [10, 1, 1]


@pytest.mark.parametrize(
    "path", sorted({route.path for route in ROUTES if isinstance(route, APIRoute)})
)
def test_readme_names_the_route(path: str) -> None:
    assert f"{path}`" in README


@pytest.mark.parametrize(
    "path",
    sorted({route.path for route in PROTOCOL_ROUTES if isinstance(route, APIRoute)}),
)
def test_the_page_of_standard_clients_names_the_route(path: str) -> None:
    is_literal = path == "/v1/models/offsetnet"
    pattern = path if is_literal else path.replace("offsetnet", "{name}")

    assert f" {pattern}`" in INTEROP


@pytest.mark.parametrize(("example", "printed"), EXAMPLES, ids=["ours", "Triton's"])
def test_an_example_in_python_prints_what_it_says(
    tmp_path: Path, example: str, printed: str
) -> None:
    with Server(tmp_path / "data") as server:
        here = example.replace("localhost:8000", f"localhost:{server.port}")

        done = subprocess.run(
            [sys.executable, "-c", here], capture_output=True, text=True, check=True
        )

    assert done.stdout == printed


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_readme_names_the_setting(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in README


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "docs/architecture.md",
        "docs/interop.md",
        "docs/operations.md",
        "docs/performance.md",
    ],
)
def test_every_link_to_a_file_resolves(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())

    missing = [
        link
        for link in links
        if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()
    ]

    assert missing == []


@pytest.mark.parametrize(
    "program",
    sorted(
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "def main() -> None:" in path.read_text() and path.stem != "report"
    ),
)
def test_every_benchmark_has_its_table(program: str) -> None:
    page = "".join(page.read_text() for page in report.PAGES)
    mark = rf"<!-- (long )?table: python -m benchmarks\.{program} -->\n\n```\n(.+?)```"

    found = re.search(mark, page, re.DOTALL)

    assert found
    assert re.search(r"\d", found[2])


def test_the_api_s_documents_are_those_of_the_program() -> None:
    spec = documents.document()

    assert json.loads((DOCS / "openapi.json").read_text()) == spec
    assert (DOCS / "api.md").read_text() == documents.page(spec)


def test_the_page_of_cases_names_the_tests_that_there_are() -> None:
    assert (DOCS / "cases.md").read_text() == documents.cases_page()


def _anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as links use them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {name.replace(" ", "-") for name in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text())

    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"
