"""The page of the architecture is the program's: its layers, modules and names."""

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import app
import model
from tests import pages
from tests.pages import ROOT

ARCHITECTURE: Final = (ROOT / "docs" / "architecture.md").read_text()
MODULES: Final = [
    importlib.import_module(f"{package.__name__}.{module.name}")
    for package in (app, model)
    for module in pkgutil.iter_modules(package.__path__)
    if module.name != "__main__"
]
LAYERS: Final = [  # of each package, as they are drawn
    [{*re.findall(r"\w+", layer)} for layer in lines.split("->")]
    for lines in re.findall(r"(?ms)^(?:model|app):(.*?)(?=^\w|^```)", ARCHITECTURE)
]


def test_the_architecture_s_layers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    checked = [
        [{*re.findall(r"\.(\w+)", layer)} for layer in contract["layers"]]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]

    assert checked == LAYERS


def test_every_module_has_its_layer() -> None:
    placed = {name for layers in LAYERS for layer in layers for name in layer}

    assert {module.__name__.partition(".")[2] for module in MODULES} <= placed


def test_the_architecture_names_what_modules_have() -> None:
    code = " ".join(re.findall(r"`([^`\n]+)`", pages.prose(ARCHITECTURE)))
    every = "|".join(module.__name__.partition(".")[2] for module in MODULES)

    named = set(re.findall(rf"(?<![\w./])((?:{every})(?:\.[a-zA-Z_]\w*)+)", code))

    assert len(named) > 20
    assert [path for path in named if not any(map(_names(path), MODULES))] == []


def _names(path: str) -> Callable[[ModuleType], bool]:
    """Return what tells whether a path, as `store.Store.read`, is of a module."""
    first, _, rest = path.partition(".")

    def is_of(module: ModuleType) -> bool:
        if module.__name__.partition(".")[2] != first:
            return False
        found: Any = module
        for part in rest.split("."):
            found = getattr(found, part, None)
        return found is not None

    return is_of
