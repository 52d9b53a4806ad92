"""The help of every command: it fits a terminal, and its examples work as pasted."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.testing import CliRunner

from app.cli import cli
from app.training_settings import ConfigChanges
from tests.app.processes import only_child
from tests.server import Server

COMMANDS: Final = [
    "",
    *("serve", "runner", "sample", "train", "predict", "models"),
    *(f"models {name}" for name in ("list", "show", "activate", "rollback", "verify")),
]
EXAMPLE: Final = re.compile(
    r"^ *(?:\$ )?((?:[A-Z_]+=\S+ )?offsetnet .+?) *$", re.MULTILINE
)
HERE: Final = "http://127.0.0.1:8000"
WIDTH: Final = 80


def show_help(command: str) -> str:
    """Return a command's help as a terminal of 80 columns shows it."""
    result = CliRunner(
        env={"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH)}
    ).invoke(cli, [*command.split(), "--help"], prog_name="offsetnet")
    return result.stdout


def examples(*, that_end: bool) -> list[str]:
    """Return the examples of all helps, those that end or those that serve."""
    found = {
        example: None
        for command in COMMANDS
        for example in EXAMPLE.findall(show_help(command))
    }
    return [
        one
        for one in found
        if that_end is not bool(re.search("net (serve|runner)", one))
    ]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a shell that finds `offsetnet`."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "offsetnet").symlink_to(Path(sys.executable).with_name("offsetnet"))
    kept = {k: v for k, v in os.environ.items() if "OFFSETNET" not in k}
    return {**kept, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two versions, of which either may be rolled back to."""
    with Server(tmp_path_factory.mktemp("help") / "data") as running:
        job = running.client.post("/train", json={"promote": "always"}).json()
        running.wait_for_job(job["id"])
        running.wait_for_version(2)
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shell: dict[str, str]) -> Path:
    """A folder with the files that examples before may have made."""
    folder = tmp_path_factory.mktemp("examples")
    for command in (
        "offsetnet sample 1000 > people.csv",
        "cut -d, -f1,2 people.csv > strangers.csv",
        "offsetnet train --article --output weights.safetensors",
    ):
        assert _run(command, folder, shell).returncode == 0
    return folder


def _run(
    command: str, folder: Path, shell: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_explains_and_shows_examples(command: str) -> None:
    text = show_help(command)

    _, summary, explanation, *_ = re.split(r"\n\s*\n", text.strip())
    assert len(summary.split()) >= 3
    assert len(explanation.split()) > 5
    assert "─" not in explanation
    assert EXAMPLE.findall(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_example_is_broken_by_the_terminal(command: str) -> None:
    text = show_help(command)
    end = text[text.rindex("╯") :]

    lines = [line.strip() for line in end.splitlines()[1:] if line.strip()]

    marks = ("offsetnet", "OFFSETNET", "`", "Examples:", "Where", "then", "or")
    assert all(line.startswith(marks) for line in lines)


@pytest.mark.parametrize("name", ConfigChanges.model_fields)
def test_a_training_setting_says_what_it_does_and_its_range(name: str) -> None:
    described = ConfigChanges.model_json_schema()["properties"][name]

    what, _, default = described["description"].partition("; default ")

    assert len(re.findall("[a-z]{2,}", what)) >= 3
    assert default
    kinds = described.get("anyOf", [described])
    bounds = [one[key] for one in kinds for key in one if "imum" in key.lower()]
    choices = [choice for one in kinds for choice in one.get("enum", [])]
    choices += {"boolean": ["true", "false"]}.get(kinds[0].get("type"), [])
    known = {f"{value:.10g}" for value in bounds}
    assert known | {*choices} <= {*re.findall(r"[\d.]*\d|[a-z]+", what)}
    assert known or choices


def test_the_help_of_train_has_the_settings_as_the_document_has_them() -> None:
    text = " ".join(re.sub("[│╭╰─╮╯]", " ", show_help("train")).split())

    missing = [
        name
        for name, field in ConfigChanges.model_fields.items()
        if f"> {field.description}" not in text
    ]
    assert missing == []


def test_the_first_help_says_where_to_begin() -> None:
    text = show_help("")

    assert "Where to begin:" in text
    assert "offsetnet serve" in EXAMPLE.findall(text)


@pytest.mark.parametrize("example", examples(that_end=True))
def test_an_example_works_as_pasted(
    service: Server, folder: Path, shell: dict[str, str], example: str
) -> None:
    url = f"http://127.0.0.1:{service.port}"
    asks_here = "models" in example and not {"verify", HERE} & {*shlex.split(example)}
    command = f"{example} --server {url}" if asks_here else example.replace(HERE, url)

    done = _run(command, folder, shell)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("example", examples(that_end=False))
def test_an_example_that_serves_starts_and_stops(
    tmp_path: Path, shell: dict[str, str], example: str
) -> None:
    local = example.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - it is not used
    script = local.replace("offsetnet ", "exec offsetnet ", 1)
    if " runner" in script:
        assert _stopped_runner(script, tmp_path, shell) == 0
        return

    command = ("/bin/bash", "-c", f'{script} "$@"', "bash")
    with Server(
        tmp_path / "data", command=command, environment={"PATH": shell["PATH"]}
    ) as running:
        assert running.client.get("/livez").is_success

    assert running.process.returncode == 0


def _stopped_runner(script: str, folder: Path, shell: dict[str, str]) -> int:
    """Return the status of a runner that is stopped once it works."""
    with subprocess.Popen(["/bin/bash", "-c", script], cwd=folder, env=shell) as runner:
        try:
            only_child(runner.pid)
        finally:
            runner.send_signal(signal.SIGTERM)
        return runner.wait(60)


def test_every_command_is_looked_at() -> None:
    group = typer.main.get_command(cli)
    models = group.commands["models"]  # type: ignore[attr-defined] # of a group

    found = {"", *group.commands}  # type: ignore[attr-defined] # the same
    found |= {f"models {name}" for name in models.commands}

    assert found == {*COMMANDS}
