"""KServe's client and `mlserver infer`: optional for a newcomer, required in CI."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import pytest

from benchmarks.peers.environment import environment
from model import LABEL_THRESHOLD, LABELS, load, load_shipped, predict_proba
from tests.app.test_open_inference import MALFORMED

PARAMS: Final = load(load_shipped()).params
PROGRAM: Final = Path(__file__).with_name("kserve_client.py")
CASES: Final = 2 * 3 * 3 * 4
PEOPLE: Final = [[-7.0, -3.0], [20.0, 2.0]]

Run = Callable[..., str]


def in_environment(peer: str) -> Run:
    """Return a function that runs a command in a peer's environment."""
    if os.environ.get("CI") != "true":
        pytest.skip("installs hundreds of megabytes")
    variables: Mapping[str, str] = {**os.environ, **environment(peer)}

    def run(*command: str, **options: Any) -> str:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
            **options,
        )
        return done.stdout

    return run


@pytest.fixture(scope="module")
def answers(server: Any) -> Any:
    """Return everything that KServe's client can get from the shared server."""
    refused = [
        (name, request["content"].hex(), request.get("headers"))
        for name, (request, _) in MALFORMED.items()
    ]
    url = f"http://127.0.0.1:{server.port}"
    run = in_environment("kserve")
    return json.loads(run("python", str(PROGRAM), url, input=json.dumps(refused)))


def test_kserve_s_client_predicts_in_every_form(answers: Any) -> None:
    assert len(answers["answers"]) == CASES
    for answer in answers["answers"]:
        X = np.array(answer["people"]).reshape(-1, 2)
        P = predict_proba(PARAMS, X).tolist()
        assert [p for (p,) in answer["probability"]] == pytest.approx(P, rel=1e-12)
        assert answer["label"] == [LABELS[p >= LABEL_THRESHOLD] for p in P]


def test_kserve_s_client_finds_the_model(answers: Any) -> None:
    found = {name: answers[name] for name in ("live", "ready", "model", "other")}

    assert found == {"live": True, "ready": True, "model": True, "other": False}


def test_kserve_s_client_speaks_version_1(answers: Any) -> None:
    assert (answers["v1 live"], answers["v1 model"]) == (True, True)
    (prediction,) = answers["v1"]["predictions"]
    assert (prediction["label"], prediction["extrapolating"]) == ("F", False)


@pytest.mark.parametrize("name", MALFORMED)
def test_kserve_s_client_says_why_it_was_refused(answers: Any, name: str) -> None:
    _, message = MALFORMED[name]

    assert re.search(message, answers["refusals"][name])
    assert "400 Bad Request" in answers["refusals"][name]


@pytest.mark.parametrize("form", [(), ("--binary-data",)], ids=["json", "binary"])
def test_mlserver_infers(
    client: httpx.Client, tmp_path: Path, form: tuple[str, ...]
) -> None:
    run = in_environment("mlserver")
    requests, responses = tmp_path / "requests.jsonl", tmp_path / "responses.jsonl"
    tensor = {"name": "features", "datatype": "FP64", "shape": [2, 2], "data": PEOPLE}
    bad = {**tensor, "shape": [4, 1]}
    lines = [json.dumps({"inputs": [one]}) for one in (tensor, bad)]
    requests.write_text("\n".join(lines) + "\n")

    run(
        *("mlserver", "infer", "--url", f"127.0.0.1:{client.base_url.port}"),
        *("--model-name", "offsetnet", "--retries", "1", *form),
        *("--input-data-path", str(requests), "--output-data-path", str(responses)),
        cwd=tmp_path,
    )

    good, refused = map(json.loads, responses.read_text().splitlines())
    probability, label = good["outputs"]
    P = predict_proba(PARAMS, np.array(PEOPLE)).tolist()
    assert probability["data"] == pytest.approx(P, rel=1e-12)
    assert label["data"] == ["F", "M"]
    assert "expected the shape [N, 2]" in refused["error"]["msg"]
