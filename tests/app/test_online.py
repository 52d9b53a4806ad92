"""The command line with a server: training there, and choosing who serves."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.job_views import Job
from app.online import REASONS
from model import SHIPPED_SHA256, load, load_shipped
from tests.app.test_client import BRISK, answer, problem, scripted
from tests.app.training import SAMPLE
from tests.server import Server, wait_for

KEYS: Final = {"OFFSETNET_ADMIN_KEY": "first key,second key"}
LIMITS: Final = {"OFFSETNET_TRAINING_SECONDS": "5"}
FOUR_CSV: Final = "weight_lb,height_in,label\n133,65,F\n160,72,M\n152,70,M\n120,60,F\n"
NOTE: Final = "[red]mine[/] :bug:"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a key, and whose jobs may take 2 s."""
    data_dir = tmp_path_factory.mktemp("online") / "data"
    with Server(data_dir, environment={**BRISK, **KEYS, **LIMITS}) as running:
        yield running


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 2,000 people."""
    path = tmp_path_factory.mktemp("people") / "people.csv"
    path.write_text(SAMPLE)
    return path


@pytest.fixture(scope="module", autouse=True)
def promoted(service: Server, people: Path) -> Result:
    """A training that made version 2, which serves in place of the first."""
    brief = ("--epochs", "60", "--promote", "always", "--note", NOTE, "--plot")
    return _call(service, "train", people, *brief)


@pytest.fixture(scope="module")
def job(service: Server) -> Job:
    """A job that has ended."""
    return Job.model_validate(_json(service, "train", "--promote", "never"))


def _call(server: Server | str, *arguments: str | Path) -> Result:
    """Run a command within this process, with the server's key."""
    url = server if isinstance(server, str) else f"http://127.0.0.1:{server.port}"
    given = [*map(str, arguments), "--server", url]
    return CliRunner(env=KEYS).invoke(cli, given)


def _json(server: Server, *arguments: str | Path) -> Any:
    """Run a command that prints JSON and nothing else."""
    return json.loads(_call(server, *arguments, "--json").stdout)


def _take_interrupts() -> None:
    """Undo that what a shell runs in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _start(port: int, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start `offsetnet train --json` in a process of its own."""
    server = ("--server", f"http://127.0.0.1:{port}", "--json")
    return subprocess.Popen(
        [sys.executable, "-m", "app", "train", *arguments, *server],
        env={**os.environ, **KEYS},
        preexec_fn=_take_interrupts,  # noqa: PLW1509 - no other thread is here
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _has_begun(server: Server) -> Any:
    """Return the job that is past its first epoch, if there is one."""
    jobs = server.client.get("/train?state=running").json()["jobs"]
    return next((job for job in jobs if job["epoch"]), None)


def test_a_file_is_trained_on_and_its_outcome_shown(promoted: Result) -> None:
    lines = promoted.stdout.splitlines()

    assert promoted.exit_code == 0
    assert "job 1: promoted, version 2" in lines
    assert any("held-out rows" in line for line in lines)
    for who in ("challenger", "champion"):
        assert any(re.search(rf"{who} +│ 0\.\d{{4}} ", line) for line in lines)


def test_a_warning_is_told_beside_the_result(promoted: Result) -> None:
    assert promoted.stderr == "warning: 6 conflicting rows\n"


def test_the_curve_of_a_job_is_drawn(promoted: Result) -> None:
    curve = [line for line in promoted.stdout.splitlines() if "|" in line]

    assert {".", "o"} <= set("".join(curve))


def test_a_curve_beside_json_goes_to_standard_error(service: Server) -> None:
    result = _call(service, "train", "--promote", "never", "--plot", "--json")

    assert json.loads(result.stdout)["state"] == "succeeded"
    assert len([line for line in result.stderr.splitlines() if "|" in line]) == 14


@pytest.mark.parametrize("arguments", [[], ["--article"]], ids=["nothing", "article"])
def test_without_a_file_the_article_s_people_are_trained_on(
    service: Server, arguments: list[str]
) -> None:
    job = _json(service, "train", *arguments, "--epochs", "20", "--promote", "never")

    assert (job["state"], job["outcome"], job["rows"]) == ("succeeded", "kept", 4)
    assert (job["config"]["epochs"], job["config"]["loss"]) == (20, "mse")


def test_settings_are_sent_with_a_file(service: Server, people: Path) -> None:
    more = ("--epochs=2", "--patience=null", "--no-shuffle", "--promote=never")

    job = _json(service, "train", people, *more, "--note", "short")

    assert (job["note"], job["promote"], job["epoch"]) == ("short", "never", 2)
    assert (job["config"]["patience"], job["config"]["shuffle"]) == (None, False)


def test_a_version_that_is_kept_says_why_and_is_saved(
    service: Server, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"

    result = _call(service, "train", "--promote", "never", "--output", path)

    assert result.exit_code == 0
    assert re.fullmatch(r"job \d+: kept, version \d+\n", result.stdout)
    assert load(path.read_bytes()).rows == 4


def test_a_job_that_fails_ends_with_1(service: Server, tmp_path: Path) -> None:
    path = tmp_path / "slow.csv"
    path.write_text(FOUR_CSV + "".join(FOUR_CSV.splitlines(keepends=True)[1:] * 50))

    result = _call(service, "train", path, "--epochs=10000", "--batch-size=1", "--json")

    job = json.loads(result.stdout)
    assert (result.exit_code, job["reason"]) == (1, "timeout")
    assert result.stderr.splitlines() == [
        f"job {job['id']}: failed (timeout)",
        "it ran longer than OFFSETNET_TRAINING_SECONDS",
    ]


def test_a_version_that_does_not_serve_says_why(service: Server) -> None:
    result = _call(service, "train", "--epochs", "20")

    assert result.exit_code == 0
    headline, reason, *_ = result.stdout.splitlines()
    assert re.fullmatch(r"job \d+: kept \(too-few-rows\), version \d+", headline)
    assert reason == (
        "fewer than 20 rows never replace a version that was trained on more"
    )


def test_the_page_for_operators_gives_the_same_reasons() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()

    rows = re.findall(
        r"^\| `([a-z-]+)` \| (?:succeeded; )?(.+) \|$", text, re.MULTILINE
    )

    assert {reason: what.replace("`", "") for reason, what in rows} == REASONS


def test_what_the_server_refuses_is_listed_by_row(
    service: Server, tmp_path: Path
) -> None:
    path = tmp_path / "faulty.csv"
    path.write_text("weight_lb,height_in,label\n1,x,F\n-1,1,Q\n")

    result = _call(service, "train", path)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        "The request breaks a rule (422 invalid)",
        "row 2, height_in: expected a number",
        "row 3, weight_lb: expected a number above 0 to 10135",
        "row 3, label: expected F, M, Female or Male",
    ]


def test_a_fault_as_a_whole_is_told(service: Server, tmp_path: Path) -> None:
    path = tmp_path / "females.csv"
    path.write_text("weight_lb,height_in,label\n135,66,F\n134,65,F\n")

    result = _call(service, "train", path)

    assert result.stderr == "at least one F and one M are needed (422 single-class)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["people.csv", "--article"], "either a FILE", id="both"),
        pytest.param(["--epochs", "0"], "--epochs: Input should be", id="epochs"),
        pytest.param(["--promote", "maybe"], "--promote: Input", id="promote"),
        pytest.param(["--note", "n" * 201], "--note: String should", id="note"),
        pytest.param(["--server", "somewhere"], "expected an address", id="address"),
    ],
)
def test_a_wrong_call_ends_with_2(
    service: Server, arguments: list[str], message: str
) -> None:
    options = ["train", *arguments]
    url = f"http://127.0.0.1:{service.port}"
    before = [] if "--server" in arguments else ["--server", url]

    result = CliRunner().invoke(cli, [*options, *before])

    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize("option", [["--note", ""], ["--promote", "never"]])
def test_what_only_a_server_can_do_needs_one(option: list[str]) -> None:
    result = CliRunner().invoke(cli, ["train", "--article", *option])

    assert result.exit_code == 2
    assert "go with --server" in result.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere", "No such file or directory"), (".", "Is a directory")],
)
def test_a_file_that_cannot_be_read_is_told_of(
    service: Server, tmp_path: Path, name: str, reason: str
) -> None:
    result = _call(service, "train", tmp_path / name)

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path / name}: {reason}\n")


def test_a_file_that_is_too_large_is_not_sent(service: Server, tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)

    result = _call(service, "train", path)

    assert result.exit_code == 1
    assert result.stderr == f"{path}: larger than {64 << 20} bytes\n"


@pytest.mark.parametrize("name", ["none/w", "folder"])
def test_an_output_that_cannot_be_written_is_told_of(
    service: Server, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()

    result = _call(
        service, "train", "--epochs=1", "--promote=never", "--output", tmp_path / name
    )

    assert result.exit_code == 1
    assert result.stderr.startswith(f"{tmp_path}/")


def test_an_output_is_looked_at_before_a_server_is_asked(tmp_path: Path) -> None:
    result = _call("http://127.0.0.1:1", "train", "--output", tmp_path)

    assert (result.exit_code, result.stderr) == (1, f"{tmp_path}: Is a directory\n")


def test_a_wrong_key_is_told_of(service: Server) -> None:
    arguments = ["train", "--server", f"http://127.0.0.1:{service.port}"]

    result = CliRunner(env={"OFFSETNET_ADMIN_KEY": "other"}).invoke(cli, arguments)

    assert result.exit_code == 1
    assert result.stderr == "a valid key is needed (401 unauthenticated)\n"


def test_a_predict_key_is_enough_to_read() -> None:
    arguments = ["models", "show", "1", "--server"]
    with scripted(problem(404, "not-found")) as (server, _):
        CliRunner(env={"OFFSETNET_PREDICT_KEY": "reader"}).invoke(
            cli, [*arguments, server.url]
        )

    assert server.headers("authorization") == ["Bearer reader"]


def test_a_wrong_setting_is_told_of() -> None:
    result = CliRunner(env={"OFFSETNET_QUEUE_LIMIT": "none"}).invoke(
        cli, ["models", "list"]
    )

    assert result.exit_code == 1
    assert result.stderr.startswith("OFFSETNET_QUEUE_LIMIT: Input should be")


def test_a_server_that_is_not_there_is_told_of_in_one_line() -> None:
    result = _call("http://127.0.0.1:1", "models", "list")

    assert result.exit_code == 1
    assert re.fullmatch(
        "http://127.0.0.1:1: the server cannot be reached: .*refused\n", result.stderr
    )


def test_a_training_outlives_a_restart_of_its_server(
    tmp_path: Path, people: Path
) -> None:
    environment = {**BRISK, **KEYS}
    with Server(tmp_path / "data", environment=environment) as first:
        command = _start(first.port, people, "--epochs=1000", "--patience=null")
        wait_for(lambda: _has_begun(first))

    with Server(tmp_path / "data", environment=environment, port=first.port):
        printed, told = command.communicate(timeout=60)

    assert (command.returncode, told) == (0, "")
    assert json.loads(printed)["state"] == "succeeded"


def test_an_interrupted_command_leaves_its_job_and_says_so(
    service: Server, people: Path
) -> None:
    endless = ("--epochs=10000", "--batch-size=1", "--patience=null")
    command = _start(service.port, people, *endless)
    job = wait_for(lambda: _has_begun(service))

    command.send_signal(signal.SIGINT)

    printed, told = command.communicate(timeout=60)
    place = f"http://127.0.0.1:{service.port}{job['links']['self']}"
    assert (command.returncode, printed) == (1, "")
    assert told == f"job {job['id']} goes on; curl -X DELETE {place} cancels it\n"
    ended = service.wait_for_job(job["id"])  # nobody cancelled it
    assert (ended["state"], ended["reason"]) == ("failed", "timeout")


def test_a_job_that_is_lost_sight_of_may_go_on(job: Job) -> None:
    accepted = answer(202, job.model_dump_json())
    away = problem(503, "storage", "Retry-After: 1000")

    with scripted(accepted, away) as (server, _):
        result = _call(server.url, "train")

    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"job {job.id} may go on; {server.url}/train/{job.id} tells",
        "it is storage (503 storage)",
    ]


def test_the_versions_are_listed_newest_first(service: Server) -> None:
    _, *lines = _call(service, "models", "list").stdout.splitlines()

    rows = [re.split(" {2,}", line.strip()) for line in lines if line[0] != " "]
    *_, second, first = rows
    assert [int(row[0]) for row in rows] == list(range(len(rows), 0, -1))
    assert (second[1], second[3], first[1], first[3]) == (
        *("active", "2000"),
        *("previous", "4"),
    )


def test_the_list_keeps_its_columns_on_a_narrow_terminal(service: Server) -> None:
    url = f"http://127.0.0.1:{service.port}"

    result = CliRunner(env={**KEYS, "COLUMNS": "40"}).invoke(
        cli, ["models", "list", "--server", url]
    )

    header, *lines = result.stdout.splitlines()
    names = ["version", "created (UTC)", "rows", "mse", "accuracy", "note"]
    assert re.split(" {2,}", header.strip()) == names
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert re.match(rf"1 +previous +{day} +4 +0\.\d{{4}} +1\.0000", lines[-1])


def test_a_note_is_shown_as_it_was_written(service: Server) -> None:
    shown = _call(service, "models", "show", "2").stdout
    listed = _call(service, "models", "list").stdout

    assert f"note               {NOTE}\n" in shown
    assert "[red]mine[/]" in listed


def test_the_versions_are_listed_as_json(service: Server) -> None:
    listed = _json(service, "models", "list")

    assert listed == service.client.get("/models").json()


def test_a_version_is_shown(service: Server) -> None:
    lines = _call(service, "models", "show", "1").stdout.splitlines()

    facts = dict(line.split(maxsplit=1) for line in lines)
    assert (facts["version"], facts["sha256"]) == ("1", SHIPPED_SHA256)
    assert (facts["mse"][:6], facts["hidden_units"]) == ("0.0024", "2")


def test_a_version_is_shown_as_json(service: Server) -> None:
    shown = _json(service, "models", "show", "1")

    assert shown == service.client.get("/models/1").json()


@pytest.mark.parametrize("command", ["show", "activate"])
def test_a_version_that_is_not_there_is_told_of(service: Server, command: str) -> None:
    result = _call(service, "models", command, "999")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "there is no such version (404 not-found)\n"


def test_a_version_is_activated_and_rolled_back(service: Server) -> None:
    activated = _call(service, "models", "activate", "1")
    rolled_back = _call(service, "models", "rollback")

    assert activated.stdout == "version 1 serves; before it, 2 did\n"
    assert rolled_back.stdout == "version 2 serves; before it, 1 did\n"
    assert service.client.get("/models/active").json()["version"] == 2


@pytest.mark.parametrize("arguments", [["activate", "2"], ["rollback"]])
def test_what_serves_now_is_told_as_json(service: Server, arguments: list[str]) -> None:
    told = _json(service, "models", *arguments)

    assert told == service.client.get("/models/active").json()
    _call(service, "models", "activate", "2")


def test_e3_without_a_version_before_nothing_is_rolled_back(server: Server) -> None:
    result = _call(server, "models", "rollback")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "no-previous: there is no version to go back to\n"


def test_who_was_faster_to_activate_wins(service: Server) -> None:
    active = answer(200, service.client.get("/models/active").text, 'ETag: "7"')

    with scripted(active, problem(412, "stale-generation")) as (other, _):
        result = _call(other.url, "models", "activate", "1")

    assert other.headers("if-match") == [None, '"7"']
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "it is stale-generation (412 stale-generation)\n"


def _verify(path: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["models", "verify", str(path), *options])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of the shipped weights."""
    path = tmp_path / "weights.safetensors"
    path.write_bytes(load_shipped())
    return path


def test_a_file_is_verified(weights: Path) -> None:
    lines = _verify(weights).stdout.splitlines()

    assert lines[:2] == [f"sha256 {SHIPPED_SHA256}", "4 rows, 2 hidden units"]
    assert any("│ 0.0024 │" in line for line in lines)


def test_d9_a_file_is_verified_through_a_link(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "link").symlink_to(weights)

    told = json.loads(_verify(tmp_path / "link", "--json").stdout)

    assert (told["sha256"], told["rows"]) == (SHIPPED_SHA256, 4)
    assert told["metrics"]["accuracy"] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("nowhere", "No such file or directory", id="missing"),
        pytest.param("folder", "Not a regular file", id="folder"),
        pytest.param("pipe", "Not a regular file", id="pipe"),
        pytest.param("dangling", "No such file or directory", id="dangling link"),
        pytest.param("loop", "Too many levels of symbolic links", id="loop"),
        pytest.param("n" * 300, "File name too long", id="long name"),
        pytest.param("cut", "not safetensors: .*", id="cut short"),
        pytest.param("empty", "not safetensors: .*", id="empty"),
        pytest.param("large", "1048577 bytes, expected at most 1048576", id="10 GiB"),
    ],
)
def test_d9_what_cannot_be_verified_is_told_of_in_one_line(
    tmp_path: Path, name: str, reason: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "cut").write_bytes(load_shipped()[:-1])
    (tmp_path / "empty").touch()
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 10 << 30)  # of which none is on the disk

    result = _verify(tmp_path / name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(f"{tmp_path / name}: {reason}\n", result.stderr)


@pytest.mark.parametrize(
    "command", ["list", "show", "activate", "rollback", "verify", ""]
)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(cli, ["models", *filter(None, [command]), "--help"])

    assert result.exit_code == 0
    assert f"models {command}".strip() in result.stdout
