"""The pages name all that there is."""

import json
import re
from pathlib import Path
from typing import Final

import pytest
from fastapi.routing import APIRoute

from app.api import ROUTES
from app.inference import ROUTES as PROTOCOL_ROUTES
from app.settings import PREFIX, Settings
from benchmarks import report
from tests import documents
from tests.documents import DOCS

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
INTEROP: Final = (ROOT / "docs" / "interop.md").read_text()


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


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_readme_names_the_setting(name: str) -> None:
    assert f"`{PREFIX}{name.upper()}`" in README


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
