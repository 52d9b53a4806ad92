"""LitServe with the article's network.

Served as its documentation does: a LitAPI in one worker process behind one server
process, both started by `LitServer.run`. The access log is off by the log level.

Usage: python -m benchmarks.peers.litserve_app --port PORT FOLDER
"""

import sys

import litserve  # type: ignore[import-not-found] # in an environment of its own
import numpy as np

from benchmarks.peers.network import load_network


class Article(litserve.LitAPI):  # type: ignore[misc] # untyped here
    """One person in, one probability out."""

    def setup(self, device: str) -> None:
        """Load the weights."""
        del device  # the processor is the only one
        self.predict_proba = load_network()

    def predict(self, request: dict[str, float]) -> dict[str, float]:
        """Answer one person."""
        X = np.array([[request["weight_offset"], request["height_offset"]]])
        return {"probability": float(self.predict_proba(X)[0, 0])}


def main() -> None:
    """Serve until stopped."""
    _, _, port, _ = sys.argv
    server = litserve.LitServer(Article(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(port),
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
