"""MLflow with the article's network.

Served as its documentation does: a Python model from code, saved into a folder, and
`mlflow models serve` with one worker in the present environment, which starts uvicorn
as a process of its own. The access log is off by uvicorn's environment variable.

Usage: python -m benchmarks.peers.mlflow_app --port PORT FOLDER
"""

import os
import sys
from typing import Any

import numpy as np
from mlflow.models import (  # type: ignore[import-not-found] # in its own environment
    ModelSignature,
    set_model,
)
from mlflow.pyfunc import (  # type: ignore[import-not-found] # the same
    PythonModel,
    save_model,
)
from mlflow.types import (  # type: ignore[import-not-found] # the same
    Schema,
    TensorSpec,
)

from benchmarks.peers.network import Floats, load_network


class Article(PythonModel):  # type: ignore[misc] # untyped here
    """A tensor of people in, a tensor of probabilities out."""

    def load_context(self, context: Any) -> None:
        """Load the weights."""
        del context  # no artifacts, the weights come with the package
        self.predict_proba = load_network()

    def predict(
        self, context: Any, model_input: Floats, params: dict[str, Any] | None = None
    ) -> Floats:
        """Answer people."""
        del context, params
        return self.predict_proba(model_input)


set_model(Article())  # how a model from code is declared


def main() -> None:
    """Save the model and become `mlflow models serve`."""
    _, _, port, folder = sys.argv
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", UVICORN_ACCESS_LOG="false")
    people = Schema([TensorSpec(np.dtype(np.float64), (-1, 2))])
    save_model(
        f"{folder}/model",
        python_model=__file__,
        signature=ModelSignature(inputs=people),
        pip_requirements=[],
    )
    os.chdir(folder)
    os.execlp(  # noqa: S606 # no shell is wanted
        *("mlflow", "mlflow", "models", "serve", "--model-uri", "model"),
        *("--env-manager", "local", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", port),
    )


if __name__ == "__main__":
    main()
