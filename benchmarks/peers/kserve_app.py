"""KServe's model server with the article's network.

Served as its documentation does: a model of its class, and `ModelServer` with one
worker. gRPC is off, and the access log is.

Usage: python -m benchmarks.peers.kserve_app --port PORT FOLDER
"""

import sys
from typing import Any

from kserve import (  # type: ignore[import-not-found] # in its own environment
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
)
from kserve.utils.utils import (  # type: ignore[import-not-found] # the same
    generate_uuid,
)

from benchmarks.peers.network import load_network


class Article(Model):  # type: ignore[misc] # untyped here
    """A tensor of people in, a tensor of probabilities out."""

    def load(self) -> bool:
        """Load the weights."""
        self.predict_proba = load_network()
        self.ready = True
        return True

    async def predict(
        self, payload: InferRequest, headers: Any = None, response_headers: Any = None
    ) -> InferResponse:
        """Answer a request of the Open Inference Protocol."""
        del headers, response_headers
        P = self.predict_proba(payload.inputs[0].as_numpy())
        output = InferOutput("probability", [*P.shape], "FP64")
        output.set_data_from_numpy(P, binary_data=False)
        return InferResponse(generate_uuid(), self.name, [output])


def main() -> None:
    """Serve."""
    model = Article("article")
    model.load()
    port = int(sys.argv[2])
    ModelServer(
        http_port=port, workers=1, enable_grpc=False, access_log_format=None
    ).start([model])


if __name__ == "__main__":
    main()
