"""The command line, as a person uses it: as a process, or as if it were one.

A process for each of these cases would cost a second, so most call the same commands
within this one.
"""

import csv
import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.testing import CliRunner, Result

from app.cli import cli
from app.files import write
from model import ARTICLE_CONFIG, SHIPPED_SHA256, load, load_shipped

COMMANDS: Final = ["serve", "train", "predict", "models", "sample", "runner"]
PROGRAM: Final = f"{sys.executable} -m app"
HEADER: Final = "weight_lb,height_in,label\n"


def call(folder: Path, *arguments: str) -> Result:
    """Call `offsetnet` with these arguments in a folder, within this process."""
    with chdir(folder):
        return CliRunner().invoke(cli, arguments, prog_name="offsetnet")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `offsetnet` with these arguments in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with people, weights, and files that are neither."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "people.csv").write_text(call(folder, "sample", "400").stdout)
    (folder / "unlabelled.csv").write_text("height_cm,weight_kg\n160.02,58.06\n")
    (folder / "faulty.csv").write_text(HEADER + "1,x,F\n-1,1,Q\n")
    (folder / "females.csv").write_text(HEADER + "135,66,F\n134,65,F\n")
    (folder / "sub").mkdir()
    (folder / "damaged.safetensors").write_bytes(load_shipped()[:-1])
    return folder


@pytest.fixture(scope="module")
def article(folder: Path) -> subprocess.CompletedProcess[str]:
    """The article's run, saved to article.safetensors."""
    return run(folder, "train", "--article", "--output", "article.safetensors")


def test_a_worker_process_collects_garbage() -> None:
    look = "import app.__main__, gc; print(gc.isenabled())"  # all that a worker runs

    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "True\n"


def test_serving_imports_nothing_that_other_commands_need() -> None:
    look = (
        "import app.__main__, app.main, sys; app.main.create_app(); print(*sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    imported = set(done.stdout.split())
    assert "uvicorn" in imported
    assert not imported & {
        *("httpx", "rich.progress", "app.client", "app.files", "app.inference_views")
    }


def test_the_article_s_lines_are_printed_every_ten_epochs(
    article: subprocess.CompletedProcess[str],
) -> None:
    lines = re.findall(r"^Epoch (\d+) loss: (\d\.\d{3})$", article.stdout, re.MULTILINE)

    assert [int(number) for number, _ in lines] == list(range(0, 1000, 10))
    assert float(lines[0][1]) > float(lines[-1][1])


@pytest.mark.parametrize("line", ["h1 = sigmoid(", "Emily: 0.949 F", "Frank: 0.040 M"])
def test_the_article_s_run_shows_weights_and_strangers(
    article: subprocess.CompletedProcess[str], line: str
) -> None:
    assert line in article.stdout


@pytest.mark.usefixtures("article")
def test_the_article_s_run_makes_the_shipped_weights(folder: Path) -> None:
    artifact = load((folder / "article.safetensors").read_bytes())

    shipped = load(load_shipped(), SHIPPED_SHA256)
    for trained, expected in zip(artifact.params, shipped.params, strict=True):
        assert trained == pytest.approx(expected, abs=1e-9)
    assert artifact.config == ARTICLE_CONFIG


@pytest.mark.usefixtures("article")
def test_saved_weights_leave_no_other_file(folder: Path) -> None:
    assert [path.name for path in folder.glob("*article*")] == ["article.safetensors"]


def test_a_file_is_trained_on_and_saved(folder: Path) -> None:
    done = run(folder, "train", "people.csv", "--plot", "--output", "own.safetensors")

    assert done.returncode == 0
    assert "held-out rows" in done.stdout
    assert re.search(r"^\s+epoch\s+1\s+\d+$", done.stdout, re.MULTILINE)
    assert load((folder / "own.safetensors").read_bytes()).rows == 400


def test_settings_are_taken_as_by_post_train(folder: Path) -> None:
    done = run(
        folder,
        *("train", "people.csv", "--json", "--epochs", "3", "--patience", "null"),
        *("--no-shuffle", "--hidden-units", "3", "--output", "set.safetensors"),
    )

    result = json.loads(done.stdout)
    assert result["epochs"] == 3
    assert result["config"]["patience"] is None
    assert not result["config"]["shuffle"]
    content = (folder / "set.safetensors").read_bytes()
    assert result["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(["--weight-offset=-7", "--height-offset=-3"], id="offsets"),
        pytest.param(["--weight-lb=128", "--height-in=63"], id="imperial"),
        pytest.param(["--weight-kg=58.05982336", "--height-cm=160.02"], id="metric"),
    ],
)
def test_a_person_is_predicted(folder: Path, person: list[str]) -> None:
    done = call(folder, "predict", *person)

    assert done.stdout == "F, P(F) = 0.949\n"


def test_an_answer_out_of_range_says_so(folder: Path) -> None:
    done = call(folder, "predict", "--weight-lb", "500", "--height-in", "63")

    assert "nobody in training was out there" in done.stdout


@pytest.mark.usefixtures("article")
def test_an_answer_is_given_as_json_with_other_weights(folder: Path) -> None:
    person = ("--weight-lb", "128", "--height-in", "63")

    done = call(
        folder, "predict", *person, "--json", "--weights", "article.safetensors"
    )

    answer = json.loads(done.stdout)
    assert answer.keys() == {"probability", "label", "extrapolating"}
    assert answer["probability"] == pytest.approx(0.949, abs=1e-3)


def test_a_file_is_predicted_row_by_row(folder: Path) -> None:
    done = call(folder, "predict", "unlabelled.csv")

    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["height_cm"], row["weight_kg"]) == ("160.02", "58.06")
    assert (row["label"], row["extrapolating"]) == ("F", "false")


def test_a_sample_is_the_same_for_the_same_seed(folder: Path) -> None:
    first, again, other = (
        call(folder, "sample", "5", "--seed", seed).stdout for seed in "112"
    )

    assert first == again != other
    assert len(first.splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["train"], "either a FILE or --article", id="train-nothing"),
        pytest.param(
            ["train", "people.csv", "--article"], "either a FILE", id="train-both"
        ),
        pytest.param(
            ["train", "people.csv", "--learning-rate", "7"],
            "--learning-rate: Input should be less than or equal to 1",
            id="train-rate",
        ),
        pytest.param(["predict"], "either a FILE or", id="predict-nothing"),
        pytest.param(
            ["predict", "people.csv", "--weight-lb", "1"], "either", id="predict-both"
        ),
        pytest.param(["predict", "--weight-lb", "1"], "--height-in", id="predict-half"),
        pytest.param(["sample", "0"], "'rows'", id="sample-nobody"),
        pytest.param(["serve", "--workers", "0"], "workers", id="serve-without"),
        pytest.param(["fly"], "fly", id="unknown-command"),
    ],
)
def test_a_wrong_call_ends_with_2(
    folder: Path, arguments: list[str], message: str
) -> None:
    done = call(folder, *arguments)

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        pytest.param(
            ["train", "none.csv"], ["none.csv: No such file or directory"], id="missing"
        ),
        pytest.param(["train", "."], [".: Is a directory"], id="directory"),
        pytest.param(
            ["train", "faulty.csv"],
            [
                "faulty.csv: row 2, height_in: expected a number",
                "faulty.csv: row 3, weight_lb: expected a number above 0 to 10135",
                "faulty.csv: row 3, label: expected F, M, Female or Male",
            ],
            id="faulty",
        ),
        pytest.param(
            ["train", "females.csv"],
            ["females.csv: at least one F and one M are needed"],
            id="single-class",
        ),
        pytest.param(
            ["train", "people.csv", "--epochs=1", "--output", "none/w.safetensors"],
            ["none: not a folder"],
            id="unwritable",
        ),
        pytest.param(
            ["train", "people.csv", "--epochs=1", "--output", "sub"],
            ["sub: Is a directory"],
            id="output-is-a-folder",
        ),
        pytest.param(
            ["predict", "unlabelled.csv", "--weights", "none"],
            ["none: No such file or directory"],
            id="no-weights",
        ),
    ],
)
def test_a_failure_ends_with_1_and_says_why(
    folder: Path, arguments: list[str], lines: list[str]
) -> None:
    done = call(folder, *arguments)

    assert (done.exit_code, done.stderr.splitlines()) == (1, lines)


@pytest.mark.parametrize("weights", ["damaged.safetensors", "people.csv"])
def test_damaged_weights_are_refused_in_one_line(folder: Path, weights: str) -> None:
    done = call(folder, "predict", "unlabelled.csv", "--weights", weights)

    assert done.exit_code == 1
    assert re.fullmatch(f"{weights}: not safetensors: .*\n", done.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(folder: Path, command: str) -> None:
    done = call(folder, command, "--help")

    assert done.exit_code == 0
    assert f"offsetnet {command}" in done.stdout


def test_the_commands_are_listed(folder: Path) -> None:
    done = call(folder, "--help")

    assert all(command in done.stdout for command in COMMANDS)


def test_the_version_is_told(folder: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run(folder, "--version").stdout)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("sample 100000", id="a long sample"),
        pytest.param("sample 5", id="a short sample"),
        pytest.param("predict unlabelled.csv", id="rows"),
        pytest.param("models verify article.safetensors", id="a table"),
        pytest.param("--version", id="version"),
    ],
)
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        pytest.param(">/dev/full", "No space left on device", id="full"),
        pytest.param(">&-", "Bad file descriptor", id="closed"),
    ],
)
@pytest.mark.usefixtures("article")
def test_output_that_cannot_be_written_is_told_of_in_one_line(
    folder: Path, command: str, output: str, reason: str
) -> None:
    done = _run_in_shell(folder, f"{PROGRAM} {command} {output}")

    assert (done.returncode, done.stderr) == (1, f"offsetnet: {reason}\n")


@pytest.mark.parametrize("rows", [5, 100_000])
def test_a_reader_that_has_had_enough_is_no_failure(folder: Path, rows: int) -> None:
    done = _run_in_shell(folder, f"{PROGRAM} sample {rows} | head -n 1")

    assert (done.stdout, done.stderr) == (HEADER, "")


def test_a_reader_that_reads_nothing_is_no_failure(folder: Path) -> None:
    done = _run_in_shell(folder, f"{PROGRAM} sample 5 | true")

    assert (done.stdout, done.stderr) == ("", "")


def _run_in_shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line, with output that is buffered as a shell's user has it."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_port_in_use_ends_the_server(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        done = run(folder, "serve", "--port", port, "--data-dir", "data")

    assert done.returncode == 1
    assert "address already in use" in done.stderr


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "target" / "inside").mkdir(parents=True)

    with pytest.raises(typer.Exit):
        write(tmp_path / "target", b"content")

    assert "directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
