"""The command line when it is called wrongly or given bad files.

A process for each of these cases would cost a second; they call the same commands
within this one.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    SHIPPED_SHA256,
    Artifact,
    load,
    load_shipped,
    sample_csv,
    save,
    train,
)

EMILY: Final = ("--weight-offset=-7", "--height-offset=-3")
PEOPLE: Final = "weight_lb,height_in,label\n133,65,F\n160,72,M\n152,70,M\n120,60,F\n"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A CSV of four labelled people."""
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return path


def _call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def _json(*arguments: str | Path) -> dict[str, Any]:
    """Run a command that prints JSON and nothing else."""
    answer: dict[str, Any] = json.loads(_call(*arguments, "--json").stdout)
    return answer


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("train --article --epochs 0", id="epochs"),
        pytest.param("train --article --epochs many", id="text"),
        pytest.param("train --article --learning-rate nan", id="NaN"),
        pytest.param("train --article --learning-rate 0", id="learning rate"),
        pytest.param("train --article --loss mae", id="loss"),
        pytest.param("train --article --patience 0", id="patience"),
        pytest.param("train --article --patience never", id="patience in words"),
        pytest.param("train --article --holdout 0.6", id="holdout"),
        pytest.param("train --article --seed=-1", id="seed"),
        pytest.param("train --article --nonsense", id="unknown option"),
        pytest.param("predict --weight-lb 128 --height-cm 160", id="two units"),
        pytest.param("predict --weight-lb 0 --height-in 63", id="no weight"),
        pytest.param("predict --weight-offset 10001 --height-offset 0", id="bound"),
        pytest.param("predict --weight-offset inf --height-offset 0", id="infinite"),
        pytest.param(
            "predict --weight-offset nan --height-offset 0", id="not a number"
        ),
        pytest.param("sample", id="no number"),
        pytest.param("sample 5 --seed=-1", id="seed of a sample"),
        pytest.param("serve --port 65536", id="port"),
    ],
)
def test_a_wrong_option_ends_with_2(arguments: str) -> None:
    result = _call(*arguments.split())

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage" in result.stderr


@pytest.mark.parametrize("command", ["train", "predict"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [("nowhere", "No such file or directory"), ("folder", "Is a directory")],
)
def test_a_file_that_cannot_be_read_is_told_of_in_one_line(
    tmp_path: Path, command: str, name: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()

    result = _call(command, tmp_path / name)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path / name}: {reason}\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("weight_lb,height_in,label\n", "no rows", id="no rows"),
        pytest.param("", "expected the columns", id="empty"),
        pytest.param(
            "weight_lb,height_in\n1,1\n", "expected the columns", id="no labels"
        ),
        pytest.param("\ufeff" + PEOPLE, "byte order mark", id="BOM"),
        pytest.param(PEOPLE.replace("\n", "\r"), "row 1", id="line ends of old Macs"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_told_of_in_one_line(
    people: Path, content: str, reason: str
) -> None:
    people.write_text(content, newline="")

    result = _call("train", people)

    assert result.exit_code == 1
    assert re.fullmatch(f"{re.escape(str(people))}: .*{reason}.*\n", result.stderr)


def test_the_first_20_bad_rows_are_listed(people: Path) -> None:
    people.write_text("weight_lb,height_in,label\n" + "x,1,F\n" * 30)

    result = _call("train", people)

    assert result.stderr.splitlines() == [
        f"{people}: row {row}, weight_lb: expected a number" for row in range(2, 22)
    ]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(load_shipped()[:-1], id="cut short"),
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04" * 100, id="another format"),
        pytest.param(bytes(2 << 20), id="too large"),
    ],
)
def test_d9_damaged_weights_are_told_of_in_one_line(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)

    result = _call("predict", *EMILY, "--weights", path)

    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(f"{re.escape(str(path))}: .+\n", result.stderr)


@pytest.mark.parametrize("name", ["folder", "nowhere/weights", "people.csv/weights"])
def test_an_output_that_cannot_be_written_is_told_of(
    tmp_path: Path, people: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()

    result = _call("train", people, "--epochs", "5", "--output", tmp_path / name)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"{tmp_path}/")
    assert {one.name for one in tmp_path.iterdir()} == {"folder", people.name}


@pytest.mark.parametrize(
    ("output", "reason"),
    [("folder", "{}: Is a directory"), ("/proc/weights", "/proc/weights: .+")],
)
def test_an_output_is_looked_at_before_anything_is_read(
    tmp_path: Path, output: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / output

    result = _call("train", tmp_path / "nowhere.csv", "--output", path)

    assert result.exit_code == 1
    assert re.fullmatch(reason.format(re.escape(str(path))) + "\n", result.stderr)


def test_d19_an_output_is_replaced_as_a_whole(tmp_path: Path, people: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"x" * 100_000)

    _call("train", people, "--epochs", "5", "--output", path)

    artifact = load(path.read_bytes())
    assert path.read_bytes() == save(artifact)
    assert path.stat().st_mode & 0o777 == 0o644


def test_d19_an_output_and_its_folder_are_on_the_disk_before_it_is_told_of(
    tmp_path: Path, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, steps = tmp_path / "weights.safetensors", []
    sync = os.fsync

    def note(descriptor: int) -> None:
        """Note what is synced, and whether the output was there by then."""
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append(("folder" if is_folder else "file", path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)

    _call("train", people, "--epochs", "5", "--output", path)

    assert steps == [("file", False), ("folder", True)]


def test_the_article_s_run_in_json_is_nothing_but_json() -> None:
    answer = _json("train", "--article")

    assert answer["sha256"] == SHIPPED_SHA256
    assert (answer["holdout_loss"], answer["holdout_rows"]) == (None, 0)


def test_equal_trainings_give_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("".join(sample_csv(200, 0)))

    first, second = (_json("train", path, "--epochs", "5") for _ in range(2))

    assert first["sha256"] == second["sha256"]


def test_a_curve_of_one_epoch_is_drawn(people: Path) -> None:
    result = _call("train", people, "--epochs", "1", "--plot")

    assert len([line for line in result.stdout.splitlines() if "|" in line]) == 14


def test_a_curve_shows_both_losses(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("".join(sample_csv(200, 0)))

    result = _call("train", path, "--epochs", "50", "--plot")

    curve = [line for line in result.stdout.splitlines() if "|" in line]
    assert {".", "o"} <= set("".join(curve))


def test_a_curve_beside_json_goes_to_standard_error(people: Path) -> None:
    result = _call("train", people, "--epochs", "3", "--plot", "--json")

    assert json.loads(result.stdout)["epochs"] == 3
    assert len([line for line in result.stderr.splitlines() if "|" in line]) == 14


def test_other_weights_answer_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    *_, epoch = train(ARTICLE_PEOPLE, ARTICLE_CONFIG)
    shifted = epoch.params._replace(b2=epoch.params.b2 - 100)
    artifact = Artifact.of_training(shifted, ARTICLE_PEOPLE, ARTICLE_CONFIG)
    path.write_bytes(save(artifact))

    answer = _json("predict", *EMILY, "--weights", path)

    assert answer["label"] == "M"


def test_a_file_of_more_rows_than_a_batch_is_predicted(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("height_in,weight_lb\n" + "63,128\n68,155\n" * 1_000)

    rows = _call("predict", path).stdout.splitlines()

    assert rows[0] == "height_in,weight_lb,probability,label,extrapolating"
    assert [row.split(",")[3] for row in rows[1:]] == ["F", "M"] * 1_000


def test_without_a_command_help_is_shown() -> None:
    result = _call()

    assert "Usage" in result.stdout + result.stderr
