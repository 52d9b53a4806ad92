"""`compose.yaml` and `deploy/` start the program as it is."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.settings import PREFIX, Settings

ROOT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
COMPOSE: Final = yaml.safe_load((ROOT / "compose.yaml").read_text())
UNIT: Final = (ROOT / "deploy" / "offsetnet.service").read_text()
OBJECTS: Final[dict[str, Any]] = {
    f"{each['kind']} {each['metadata']['name']}": each
    for each in yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
}
PODS: Final = {
    name: each["spec"]["template"]["spec"]
    for name, each in OBJECTS.items()
    if each["kind"] == "Deployment"
}


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Yield how each file starts the program, without the program's name."""
    for name, service in COMPOSE["services"].items():
        if service["image"] == "offsetnet" and "command" in service:
            yield f"compose {name}", service["command"]
    for name, pod in PODS.items():
        yield name, pod["containers"][0]["args"]
    (line,) = re.findall(r"^ExecStart=\S+/offsetnet (.*)", UNIT, re.MULTILINE)
    yield "systemd", shlex.split(line)


def _variables() -> Iterator[str]:
    for service in COMPOSE["services"].values():
        yield from service.get("environment", {})
    yield from OBJECTS["ConfigMap offsetnet"]["data"]
    yield from re.findall(r"^Environment=(\w+)", UNIT, re.MULTILINE)


@cache
def _help(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "app", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "NO_COLOR": "1", "PATH": ""},
    ).stdout


@pytest.mark.parametrize(
    "arguments", [pytest.param(found, id=name) for name, found in _commands()]
)
def test_a_command_has_options_that_there_are(arguments: list[str]) -> None:
    command, *options = arguments

    named = {option for option in options if option.startswith("--")}

    assert all(re.search(rf"{option}\b", _help(command)) for option in named)


def test_the_variables_are_settings() -> None:
    ours = {name for name in _variables() if name.startswith(PREFIX)}

    known = {PREFIX + name.upper() for name in Settings.model_fields}

    assert len(ours) > 3
    assert ours <= known


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_what_kubernetes_takes(name: str) -> None:
    latest = kubernetes_validate.latest_version()

    kubernetes_validate.validate(OBJECTS[name], latest, strict=True)


def test_the_image_says_which_version_it_is() -> None:
    labels = re.findall(
        r"org\.opencontainers\.image\.version=\"(.*)\"",
        (ROOT / "Dockerfile").read_text(),
    )

    assert labels == [__version__]


def test_the_pods_run_this_version() -> None:
    images = {pod["containers"][0]["image"] for pod in PODS.values()}

    assert images == {f"offsetnet:{__version__}"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_more_rights_than_it_needs(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]

    (user,) = re.findall(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)

    assert pod["securityContext"]["runAsNonRoot"]
    assert str(pod["securityContext"]["runAsUser"]) == user
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert "memory" in container["resources"]["limits"]


def test_what_selects_pods_finds_those_that_serve() -> None:
    labels = OBJECTS["Deployment offsetnet"]["spec"]["template"]["metadata"]["labels"]
    others = OBJECTS["Deployment offsetnet-runner"]["spec"]["template"]["metadata"]

    selectors = [
        OBJECTS["Deployment offsetnet"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service offsetnet"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget offsetnet"]["spec"]["selector"]["matchLabels"],
    ]

    assert all(selector.items() <= labels.items() for selector in selectors)
    assert not any(one.items() <= others["labels"].items() for one in selectors)


def test_a_secret_of_compose_is_one_that_there_is() -> None:
    for service in COMPOSE["services"].values():
        secrets = service.get("secrets", [])
        files = [
            value
            for value in service.get("environment", {}).values()
            if value.startswith("/run/secrets/")
        ]

        assert set(secrets) <= COMPOSE["secrets"].keys()
        assert {Path(file).name for file in files} <= set(secrets)


def test_every_wait_for_a_stop_outlasts_the_server_s_own() -> None:
    longest = 19  # for requests in flight, then for the runner
    waits = [
        *re.findall(r"^TimeoutStopSec=(\d+)", UNIT, re.MULTILINE),
        *(
            service["stop_grace_period"].removesuffix("s")
            for service in COMPOSE["services"].values()
            if service["image"] == "offsetnet"
        ),
        *(pod["terminationGracePeriodSeconds"] - 5 for pod in PODS.values()),
    ]

    assert len(waits) == 6
    assert all(int(wait) > longest for wait in waits)
