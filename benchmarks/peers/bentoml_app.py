"""BentoML with the article's network.

Served as its documentation does: a service class with one worker, and `bentoml serve`,
whose supervisor starts one server process. The method is `async`, which costs less
than a thread of its pool. The access log is off by the service's configuration.

Usage: python -m benchmarks.peers.bentoml_app --port PORT FOLDER
"""

import os
import sys

import bentoml  # type: ignore[import-not-found] # in an environment of its own
import numpy as np

from benchmarks.peers.network import load_network


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Article:
    """One person in, one probability out."""

    def __init__(self) -> None:
        """Load the weights."""
        self.predict_proba = load_network()

    @bentoml.api  # type: ignore[untyped-decorator] # untyped here
    async def predict(
        self, weight_offset: float, height_offset: float
    ) -> dict[str, float]:
        """Answer one person."""
        X = np.array([[weight_offset, height_offset]])
        return {"probability": float(self.predict_proba(X)[0, 0])}


def main() -> None:
    """Become `bentoml serve`."""
    _, _, port, folder = sys.argv
    os.environ.update(BENTOML_HOME=folder, BENTOML_DO_NOT_TRACK="True")
    os.chdir(folder)
    service = "benchmarks.peers.bentoml_app:Article"
    os.execlp(  # noqa: S606 # no shell is wanted
        *("bentoml", "bentoml", "serve", service),
        *("--host", "127.0.0.1", "--port", port),
    )


if __name__ == "__main__":
    main()
