"""The Open Inference Protocol as Triton's own clients speak it, unmodified."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import product
from typing import Any, Final

import httpx
import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.http._utils import _raise_if_error
from tritonclient.utils import InferenceServerException

from model import load, load_shipped, predict_proba
from tests.app.test_open_inference import MALFORMED

DATATYPES: Final = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64}
SIZES: Final = (0, 1, 2, 1_000)
PARAMS: Final = load(load_shipped()).params
T: Final = tritonclient.http


def people(datatype: str, size: int) -> Any:
    """Return as many people as whole numbers, which every datatype can hold."""
    rng = np.random.default_rng(size)
    X = rng.integers([-40, -6], [60, 9], (size, 2))
    return X.astype(DATATYPES[datatype])


def infer_input(X: Any, *, is_binary: bool, name: str = "features") -> Any:
    """Return the input as the client makes it."""
    datatype = next(name for name, kind in DATATYPES.items() if X.dtype == kind)
    tensor = T.InferInput(name, list(X.shape), datatype)
    tensor.set_data_from_numpy(X, binary_data=is_binary)
    return tensor


def outputs(wanted: str) -> Any:
    """Return what is asked for: nothing, or both outputs in one form."""
    if wanted == "none":
        return None
    return [
        T.InferRequestedOutput(name, binary_data=wanted == "binary")
        for name in ("probability", "label")
    ]


async def in_aio(port: int, ask: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Ask by the asynchronous client."""
    async with tritonclient.http.aio.InferenceServerClient(f"127.0.0.1:{port}") as one:
        return await ask(one)


def ask(client: httpx.Client, kind: str, method: str, *given: Any, **named: Any) -> Any:
    """Call a method of the one client or of the other."""
    port = client.base_url.port or 0
    if kind == "aio":
        call = partial(in_aio, port, lambda one: getattr(one, method)(*given, **named))
        return asyncio.run(call())
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{port}") as one:
        return getattr(one, method)(*given, **named)


KINDS: Final = ("sync", "aio")

# The asynchronous client reads no answer about health, so its connection stays open.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")


@pytest.mark.parametrize("tensor", [*product(DATATYPES, SIZES)])
@pytest.mark.parametrize("wanted", ["none", "binary", "json"])
@pytest.mark.parametrize("sent", ["binary", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_people_are_predicted(
    client: httpx.Client, kind: str, sent: str, wanted: str, tensor: tuple[str, int]
) -> None:
    X = people(*tensor)
    inputs = [infer_input(X, is_binary=sent == "binary")]

    result = ask(client, kind, "infer", "offsetnet", inputs, outputs=outputs(wanted))

    expected = predict_proba(PARAMS, X.astype(np.float64))
    found = result.as_numpy("probability")
    assert found.shape == (len(X), 1)
    assert found[:, 0] == pytest.approx(expected, rel=1e-12)
    labels = [
        str(one, "ascii") if isinstance(one, bytes) else one
        for one in result.as_numpy("label").tolist()
    ]
    assert labels == ["F" if p >= 0.5 else "M" for p in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_s_every_question_is_answered(
    client: httpx.Client, kind: str
) -> None:
    question = partial(ask, client, kind)

    assert question("is_server_live")
    assert question("is_server_ready")
    assert question("is_model_ready", "offsetnet")
    assert question("is_model_ready", "offsetnet", "1")
    assert not question("is_model_ready", "other")
    assert question("get_server_metadata")["name"] == "offsetnet"
    metadata = question("get_model_metadata", "offsetnet", "1")
    assert [one["name"] for one in metadata["outputs"]] == ["probability", "label"]
    assert question("get_model_config", "offsetnet")["platform"] == metadata["platform"]
    (index,) = question("get_model_repository_index")
    assert (index["state"], index["reason"]) == ("READY", "")
    (statistics,) = question("get_inference_statistics")["model_stats"]
    assert statistics["version"] == "1"
    assert question("get_inference_statistics", "offsetnet")["model_stats"]
    question("load_model", "offsetnet")
    gc.collect()  # what it left open is found here, where that is known


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_and_an_id_go_there_and_back(client: httpx.Client, kind: str) -> None:
    tensor = infer_input(people("FP64", 1), is_binary=True)

    result = ask(
        client,
        kind,
        "infer",
        "offsetnet",
        [tensor],
        model_version="1",
        request_id="42",
        priority=1,
        timeout=1_000_000,
        parameters={"mine": "passed over"},
    )

    response = result.get_response()
    assert (response["id"], response["model_version"]) == ("42", "1")


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("get_model_metadata", ("other",), "there is one model here, offsetnet"),
        ("get_model_metadata", ("offsetnet", "9"), "there is no such version"),
        ("unload_model", ("offsetnet",), "unload is not supported"),
        ("get_trace_settings", (), "Not Found"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_the_client_s_message(
    client: httpx.Client, kind: str, method: str, given: Any, message: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(client, kind, method, *given)

    assert caught.value.message() == message


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([infer_input(np.zeros((2, 3)), is_binary=True)], r"got [2, 3]"),
        ([infer_input(np.zeros(2), is_binary=False)], r"got [2]"),
        ([infer_input(np.full((1, 2), np.nan), is_binary=True)], "features[0][0]"),
        ([infer_input(np.full((1, 2), 1e6), is_binary=False)], "features[0][0]"),
        (
            [infer_input(np.zeros((1, 2)), is_binary=True, name="x")],
            "the input features",
        ),
        ([infer_input(np.zeros((1, 2)), is_binary=True)] * 2, "at most 1 item"),
        ([infer_input(np.zeros((1_001, 2)), is_binary=True)], "N up to 1000"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_inference_is_the_client_s_message(
    client: httpx.Client, kind: str, tensors: Any, message: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(client, kind, "infer", "offsetnet", tensors)

    assert message in caught.value.message()
    assert caught.value.status() == "400"


@pytest.mark.parametrize("name", MALFORMED)
def test_whatever_is_malformed_the_client_shows_why(
    client: httpx.Client, name: str
) -> None:
    request, message = MALFORMED[name]
    address = f"127.0.0.1:{client.base_url.port}"

    with tritonclient.http.InferenceServerClient(address) as one:
        response = one._post(  # noqa: SLF001 # what its methods would not send
            "v2/models/offsetnet/infer",
            request["content"],
            request.get("headers"),
            query_params=None,
        )
        with pytest.raises(InferenceServerException, match=message):
            _raise_if_error(response)
