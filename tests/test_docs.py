"""The pages name all that there is, and nothing that there is not."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from app import page
from app.api import ROUTES
from app.cli import cli
from app.errors import BY_SLUG, SHEDS
from app.inference import ROUTES as PROTOCOL_ROUTES
from app.routing import names
from app.settings import PREFIX, Settings
from app.training_settings import ConfigChanges
from benchmarks import report
from model import ARTICLE_CONFIG, TrainingConfig
from tests import cli_page, documents, pages
from tests.documents import DOCS
from tests.pages import ROOT

PAGES: Final = {pages.name(page): page.read_text() for page in pages.pages()}
README: Final = PAGES["README.md"]
OPERATIONS: Final = PAGES["docs/operations.md"]
NOW: Final = {name: text for name, text in PAGES.items() if name != "CHANGELOG.md"}
OWN: Final = [(m, p) for m, p in names([*ROUTES, *page.ROUTES]) if p != "/static"]
PROTOCOLS: Final = [
    (method, path.replace("offsetnet", "{name}"))
    for method, path in names(PROTOCOL_ROUTES)
]


def rows(content: str) -> list[list[str]]:
    """Return the cells of each row of a page's tables."""
    lines = re.findall(r"^\| (.*) \|$", content, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def value(cell: str) -> Any:
    """Return what a cell says, up to a semicolon, as JSON has it or as a string."""
    said = cell.partition(";")[0].strip("` ")
    try:
        return json.loads(said)
    except json.JSONDecodeError:
        return None if said == "none" else said


@pytest.mark.parametrize(("method", "path"), OWN)
def test_readme_names_the_route(method: str, path: str) -> None:
    assert f"`{method} {path}`" in README


@pytest.mark.parametrize(("method", "path"), PROTOCOLS)
def test_the_page_of_standard_clients_names_the_route(method: str, path: str) -> None:
    content = PAGES["docs/interop.md"].replace("/models/offsetnet", "/models/{name}")

    assert f"`{method} {path}`" in content


@pytest.mark.parametrize("name", NOW)
def test_a_page_names_routes_that_there_are(name: str) -> None:
    known = {*OWN, *PROTOCOLS, *names(PROTOCOL_ROUTES)}

    named = re.findall(r"`(GET|POST|PUT|DELETE) (/[^`? ]*)", NOW[name])

    assert {*named} <= known


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_readme_has_the_setting_with_its_default(name: str) -> None:
    default = Settings.model_fields[name].default
    default = str(default) if isinstance(default, Path) else default

    said = [row[1] for row in rows(README) if f"`{PREFIX}{name.upper()}`" in row[0]]

    assert [value(cell) for cell in said] == [None if default == () else default]


@pytest.mark.parametrize("name", NOW)
def test_a_page_names_settings_that_there_are(name: str) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}

    named = re.findall(rf"{PREFIX}[A-Z_]*[A-Z](?![A-Z_])", NOW[name])

    assert {*named} <= known


@pytest.mark.parametrize("name", ConfigChanges.model_fields)
def test_readme_has_the_training_setting_with_its_defaults(name: str) -> None:
    wide = [row for row in rows(README) if len(row) == 4]

    ((_, _, data, article),) = [row for row in wide if f"`{name}`" in row[0]]

    assert value(data) == getattr(TrainingConfig(), name)
    assert value(article) == getattr(ARTICLE_CONFIG, name)


@pytest.mark.parametrize("command", cli_page.commands())
def test_the_page_of_the_command_line_has_every_option(command: str) -> None:
    wide = CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    result = wide.invoke(cli, [*command.split()[1:], "--help"], prog_name="offsetnet")
    shown = {*re.findall(r"^│ +(--[a-z-]+)", result.stdout, re.MULTILINE)}

    section = PAGES["docs/cli.md"].partition(f"## {command}\n")[2].partition("## ")[0]

    listed = {*re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)}
    assert shown == listed | {"--help"}


def test_readme_names_every_target_of_make() -> None:
    found = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert found
    assert {*found[1].split()} == {*re.findall(r"`make ([\w-]+)`", README)}


@pytest.mark.parametrize("reason", SHEDS)
def test_the_page_for_operators_says_what_to_do_about_a_refusal(reason: str) -> None:
    status = BY_SLUG[reason].status

    assert re.search(rf"^\|[^|]*\b{status} `{reason}`", OPERATIONS, re.MULTILINE)


@pytest.mark.parametrize("name", NOW)
def test_a_page_names_files_that_there_are(name: str) -> None:
    folders = "app|benchmarks|deploy|docs|model|requirements|tests"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", NOW[name])

    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NOW)
def test_a_page_names_programs_that_there_are(name: str) -> None:
    named = set(re.findall(r"python -m ((?:app|benchmarks|tests)[.\w]*)", NOW[name]))

    missing = [one for one in named if importlib.util.find_spec(one) is None]

    assert missing == []


@pytest.mark.parametrize("name", NOW)
def test_a_page_names_options_that_there_are(name: str) -> None:
    named = re.findall(r"`offsetnet ([a-z ]+?) (--[a-z-]+)[^`]*`", NOW[name])

    for command, option in named:
        known = PAGES["docs/cli.md"].partition(f"## offsetnet {command}\n")[2]
        assert re.search(rf"{option}(?![a-z-])", known.partition("## ")[0]), command


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = sum(project["optional-dependencies"].values(), project["dependencies"])
    reasons = PAGES["docs/decisions.md"].partition("\n## Dependencies\n")[2]

    named = {name for row in rows(reasons) for name in re.findall(r"[\w-]+", row[0])}

    assert {re.split(r"[\[>]", one)[0] for one in wanted} <= named


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
    assert PAGES["docs/api.md"] == documents.page(spec)


def test_the_page_of_the_command_line_is_that_of_the_program() -> None:
    assert PAGES["docs/cli.md"] == cli_page.page()


def test_the_page_of_cases_names_the_tests_that_there_are() -> None:
    assert PAGES["docs/cases.md"] == documents.cases_page()
