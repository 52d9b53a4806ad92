"""MLServer with the article's network.

Served as its documentation does: a custom runtime, a folder with `settings.json` and
`model-settings.json`, and `mlserver start`. Without parallel workers the model runs in
the server's own process; the one that is there by default does not start under
uvloop 0.23. The access log is off by `debug`; gRPC and metrics are served beside, as
by default.

Usage: python -m benchmarks.peers.mlserver_app --port PORT FOLDER
"""

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel  # type: ignore[import-not-found] # in its own environment
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found] # the same
from mlserver.types import (  # type: ignore[import-not-found] # the same
    InferenceRequest,
    InferenceResponse,
)

from benchmarks.peers.network import load_network


class Article(MLModel):  # type: ignore[misc] # untyped here
    """A tensor of people in, a tensor of probabilities out."""

    async def load(self) -> bool:
        """Load the weights."""
        self.predict_proba = load_network()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request of the Open Inference Protocol."""
        X = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("probability", self.predict_proba(X))
        return InferenceResponse(model_name=self.name, outputs=[output])


def main() -> None:
    """Write the settings and become `mlserver start`."""
    _, _, port, folder = sys.argv
    settings = {
        "host": "127.0.0.1",
        "http_port": int(port),
        "grpc_port": 0,
        "metrics_port": 0,
        "debug": False,
        "parallel_workers": 0,
    }
    model = {
        "name": "article",
        "implementation": "benchmarks.peers.mlserver_app.Article",
    }
    Path(folder, "settings.json").write_text(json.dumps(settings))
    Path(folder, "model-settings.json").write_text(json.dumps(model))
    os.chdir(folder)
    os.execlp(*("mlserver", "mlserver", "start", folder))  # noqa: S606 # no shell


if __name__ == "__main__":
    main()
