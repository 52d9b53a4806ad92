"""Write docs/openapi.json, docs/api.md from it, docs/cli.md and docs/cases.md.

Usage: python -m tests.documents
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from app.main import create_app
from app.settings import Settings
from tests import cli_page
from tests.faults import cases

DOCS: Final = Path(__file__).parents[1] / "docs"
INTRODUCTION: Final = """\
# HTTP API

Every route, from the [OpenAPI document](openapi.json) that a running service has at
`/openapi.json`; at `/docs` each can be tried out. `python -m tests.documents` writes
both files anew.
"""
CASES: Final = """\
# Cases of faults and abuse

What must happen, and the tests that show it; [reliability.md](reliability.md) has the
proofs that take longer. `python -m tests.documents` writes this page.

A is what predictions are sent, B how it comes over the network, C trainings and jobs, D
crashes, storage and processes, E what happens at the same time, F abuse.
"""
BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "minItems": "items at least",
    "maxItems": "items at most",
    "minLength": "characters at least",
    "maxLength": "characters at most",
}

Schema = Mapping[str, Any]


def document() -> dict[str, Any]:
    """Return the OpenAPI document of a service that nobody has configured."""
    with tempfile.TemporaryDirectory() as folder:
        return create_app(Settings(data_dir=Path(folder))).openapi()


def cases_page() -> str:
    """Return the list of cases, each with its tests."""
    return f"{CASES}\n{cases.table()}\n"


def page(spec: Schema) -> str:
    """Return the document as a page to read."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    tags = dict.fromkeys(tag for _, _, each in operations for tag in each["tags"])
    parts = [INTRODUCTION, spec["info"]["description"]]
    for tag in tags:
        parts.append(f"## {tag.capitalize()}\n")
        parts += [
            "\n".join(_operation(method, path, operation))
            for method, path, operation in operations
            if tag in operation["tags"]
        ]
    parts.append("## Schemas\n")
    schemas = spec["components"]["schemas"]
    parts += ["\n".join(_schema(name, schemas[name])) for name in sorted(schemas)]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield f"{operation['description']}\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type | |"
        yield "|---|---|---|---|"
        for each in parameters:
            kind, what = _type(each["schema"]), _cell(each.get("description", ""))
            yield f"| `{each['name']}` | {each['in']} | {kind} | {what} |"
        yield ""
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media}`: {_type(body.get('schema', {}))}\n"
    yield "| answer | | |"
    yield "|---|---|---|"
    for status, answer in operation["responses"].items():
        bodies = [
            f"`{media}`: {_type(body.get('schema', body.get('itemSchema', {})))}"
            for media, body in answer.get("content", {}).items()
        ]
        what = _cell(answer["description"])
        yield f"| {status} | {what} | {'; '.join(bodies)} |"
    yield ""


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if "description" in schema:
        yield f"{schema['description']}\n"
    if "properties" not in schema:
        yield f"{_type(schema)}\n"
        return
    yield "| key | type | |"
    yield "|---|---|---|"
    required = schema.get("required", [])
    for key, value in schema["properties"].items():
        facts = [value["description"]] if "description" in value else []
        if "default" in value:
            default = json.dumps(value["default"])
            is_said = "default" in value.get("description", "")
            facts += [] if is_said else [f"default `{default}`"]
        elif key not in required:
            facts.append("optional")
        yield f"| `{key}` | {_type(value)} | {_cell('; '.join(facts))} |"
    yield ""


def _type(schema: Schema) -> str:
    """Return a schema's type in a few words, with links to those that have names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    kind = str(schema.get("type", "anything"))
    if "prefixItems" in schema:
        return f"array: {', '.join(map(_type, schema['prefixItems']))}"
    if "items" in schema:
        kind = f"array of {_type(schema['items'])}"
    if "properties" in schema:
        members = (f"`{k}`: {_type(v)}" for k, v in schema["properties"].items())
        kind = f"object with {'; '.join(members)}"
    bounds = [f"{text} {schema[key]}" for key, text in BOUNDS.items() if key in schema]
    return ", ".join([kind, *bounds])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the files."""
    spec = document()
    (DOCS / "openapi.json").write_text(json.dumps(spec, indent=1) + "\n")
    (DOCS / "api.md").write_text(page(spec))
    (DOCS / "cli.md").write_text(cli_page.page())
    (DOCS / "cases.md").write_text(cases_page())


if __name__ == "__main__":
    main()
