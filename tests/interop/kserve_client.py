"""What KServe's own client gets from a server, as JSON; runs in its environment.

Standard input holds what is to be refused, `[[name, hexadecimal body, headers], ...]`.

Usage: python tests/interop/kserve_client.py http://127.0.0.1:8000 < REFUSED
"""

import asyncio
import itertools
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import (  # type: ignore[import-not-found] # in its own environment
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import (  # type: ignore[import-not-found] # the same
    RequestedOutput,
)

MODEL = "offsetnet"
DATATYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64}


async def infer(client: Any, url: str, case: tuple[Any, ...]) -> dict[str, Any]:
    """Predict once; the case says how."""
    sent, wanted, datatype, size = case
    X = np.arange(2 * size).reshape(size, 2).astype(DATATYPES[datatype]) % 50
    tensor = InferInput("features", [*X.shape], datatype)
    tensor.set_data_from_numpy(X, binary_data=sent == "binary")
    outputs = [
        RequestedOutput(name, {"binary_data": wanted == "binary"})
        for name in ("probability", "label")
    ]
    request = InferRequest(
        MODEL, [tensor], request_outputs=None if wanted == "none" else outputs
    )
    answer = await client.infer(url, request, MODEL)
    found = {output.name: output.as_numpy() for output in answer.outputs}
    return {
        "case": case,
        "people": X.astype(float).tolist(),
        "probability": found["probability"].tolist(),
        "label": found["label"].astype(str).tolist(),
    }


async def refusal(client: Any, url: str, body: str, headers: Any) -> str:
    """Return what the client says of a request that is refused."""
    try:
        await client.infer(url, bytes.fromhex(body), MODEL, headers=headers)
    except httpx.HTTPStatusError as error:
        return str(error)
    return "it was answered"


async def main(url: str, refused: list[Any]) -> dict[str, Any]:
    """Ask everything that the client can ask."""
    kinds = (
        ("binary", "json"),
        ("none", "binary", "json"),
        DATATYPES,
        (0, 1, 2, 1_000),
    )
    async with (
        InferenceRESTClient(RESTConfig(protocol="v2")) as client,
        InferenceRESTClient(RESTConfig(protocol="v1")) as old,
    ):
        return {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model": await client.is_model_ready(url, MODEL),
            "other": await client.is_model_ready(url, "other"),
            "v1 live": await old.is_server_live(url),
            "v1 model": await old.is_model_ready(url, MODEL),
            "v1": await old.infer(url, {"instances": [[-7, -3]]}, MODEL),
            "answers": [
                await infer(client, url, case) for case in itertools.product(*kinds)
            ],
            "refusals": {
                name: await refusal(client, url, body, headers)
                for name, body, headers in refused
            },
        }


if __name__ == "__main__":
    json.dump(asyncio.run(main(sys.argv[1], json.load(sys.stdin))), sys.stdout)
