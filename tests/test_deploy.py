"""What `deploy/` asks Prometheus for is what the service tells."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import VectorSelector

from app.api import ROUTES
from app.inference import ROUTES as PROTOCOL_ROUTES
from app.routing import names
from tests.app.answers import EMILY
from tests.app.training import BRIEF, train
from tests.server import Server

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana.json").read_text())
RULES: Final = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text())
PANELS: Final[dict[str, Any]] = {panel["title"]: panel for panel in DASHBOARD["panels"]}
ALERTS: Final[dict[str, Any]] = {
    rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]
}
ADDED_BY_PROMETHEUS: Final = {"job", "instance"}


def _queries() -> Iterator[tuple[str, str]]:
    """Yield every query, with a name for it."""
    for title, panel in PANELS.items():
        for target in panel["targets"]:
            yield f"{title} {target['refId']}", target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for name, rule in ALERTS.items():
        yield name, rule["expr"]


QUERIES: Final = [pytest.param(query, id=name) for name, query in _queries()]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each sample's name at /metrics, with the labels that it has there."""
    found: dict[str, set[str]] = {}
    with Server(tmp_path_factory.mktemp("told") / "data") as server:
        server.client.post("/predict", json=EMILY)
        train(server, **BRIEF)
        for family in _families(server.client):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_told(query: str, told: dict[str, set[str]]) -> None:
    selectors = list(_selectors(query))

    assert selectors
    for selector in selectors:
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert selector.name in told
        assert labels <= told[selector.name] | ADDED_BY_PROMETHEUS


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_groups_by_labels_that_there_are(
    query: str, told: dict[str, set[str]]
) -> None:
    grouped = set(
        re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \((.*?)\)", query)))
    )

    has = set().union(*(told[selector.name] for selector in _selectors(query)))

    assert grouped <= has | ADDED_BY_PROMETHEUS


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_routes_that_there_are(query: str) -> None:
    routes = {path for _, path in names([*ROUTES, *PROTOCOL_ROUTES])}

    assert set(re.findall('http_route="(.*?)"', query)) <= routes


@pytest.mark.parametrize("text", [p["title"] for p in DASHBOARD["panels"]])
def test_a_panel_lies_on_no_other(text: str) -> None:
    area = _area(PANELS[text])

    others = [_area(panel) for title, panel in PANELS.items() if title != text]

    assert len(PANELS) == len(DASHBOARD["panels"])
    assert not any(area & other for other in others)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong(name: str) -> None:
    rule = ALERTS[name]

    used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))

    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert all(
        re.search(rf"\b{label}\b", rule["expr"]) for label in used - {"instance"}
    )


@pytest.mark.parametrize("name", ALERTS)
def test_the_page_for_operators_says_what_to_do_about_an_alert(name: str) -> None:
    rows = re.findall(r"^\|[^|]+\|([^|]*)\|[^|]{20,}\|$", OPERATIONS, re.MULTILINE)

    assert any(f"`{name}`" in alerts for alerts in rows)


def test_readme_names_every_metric(server: Server) -> None:
    families = {family.name for family in _families(server.client)}

    unnamed = {
        name
        for name in families
        if not re.search(rf"`{name}(_total)?`", README)
        and not name.endswith(("_gsum", "_gcount"))  # of a histogram that is named
    }

    assert len(families) > 10
    assert unnamed == set()


def test_every_metric_of_readme_is_told(told: dict[str, set[str]]) -> None:
    named = set(re.findall(r"`((?:offsetnet|http_server)_[a-z_]+)`", README))

    untold = {name for name in named if not {name, f"{name}_bucket"} & told.keys()}

    assert len(named) > 10
    assert untold == set()


def _families(client: httpx.Client) -> list[Any]:
    return list(text_string_to_metric_families(client.get("/metrics").text))


def _selectors(query: str) -> Iterator[Any]:
    """Yield the selectors of a query, after Grafana's variables have their values."""
    found: list[Any] = []
    concrete = query.replace("$__rate_interval", "1m").replace("$job", ".+")
    promql_parser.walk(promql_parser.parse(concrete), found.append)
    yield from (node for node in found if isinstance(node, VectorSelector))


def _area(panel: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the cells that a panel covers."""
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    rows = range(place["y"], place["y"] + place["h"])
    return {(x, y) for x in columns for y in rows}
