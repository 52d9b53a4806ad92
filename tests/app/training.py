"""Training requests that several modules send."""

from typing import Any, Final

import httpx

from app.jobs import Jobs, Submission
from app.settings import Settings
from app.store import Store
from model import Dataset, TrainingConfig, sample_csv
from tests.app.answers import CSV
from tests.server import Server, wait_for

SAMPLE: Final = "".join(sample_csv(2000, 0))
FOUR: Final = [
    {"weight_offset": -2, "height_offset": -1, "label": "F"},
    {"weight_offset": 25, "height_offset": 6, "label": "M"},
    {"weight_offset": 17, "height_offset": 4, "label": "M"},
    {"weight_offset": -15, "height_offset": -6, "label": "F"},
]
FOUR_IN_ALL_SHAPES: Final = {
    "offsets": FOUR,
    "imperial": [
        {"weight_lb": 133, "height_in": 65, "label": "F"},
        {"weight_lb": 160, "height_in": 72, "label": "M"},
        {"weight_lb": 152, "height_in": 70, "label": "M"},
        {"weight_lb": 120, "height_in": 60, "label": "F"},
    ],
    "metric": [
        {"weight_kg": 60.3, "height_cm": 165, "label": "F"},
        {"weight_kg": 72.6, "height_cm": 183, "label": "M"},
        {"weight_kg": 68.9, "height_cm": 178, "label": "M"},
        {"weight_kg": 54.4, "height_cm": 152, "label": "F"},
    ],
}
BRIEF: Final = {"promote": "never", "config": {"epochs": 5}}
ENDLESS: Final = {
    "examples": FOUR * 50,
    "promote": "never",
    "config": {"epochs": 10_000, "batch_size": 1, "holdout": 0},
}


def train(server: Server, **request: Any) -> dict[str, Any]:
    """Train with a JSON request to the end."""
    response = server.client.post("/train", json=request)
    return server.wait_for_job(response.json()["id"])


def train_on_csv(
    server: Server, content: str, **parameters: str | float
) -> dict[str, Any]:
    """Train on a CSV to the end."""
    response = server.client.post(
        "/train", content=content, params=parameters, headers=CSV
    )
    return server.wait_for_job(response.json()["id"])


def start(server: Server, **request: Any) -> int:
    """Submit a JSON request and return the job's number once it runs."""
    job_id: int = server.client.post("/train", json=request).json()["id"]
    wait_for(lambda: show(server, job_id)["state"] == "running")
    return job_id


def show(server: Server, job_id: int) -> dict[str, Any]:
    """Return a job as it is now."""
    job: dict[str, Any] = server.client.get(f"/train/{job_id}").json()
    return job


def stored_job(server: Server, job_id: int) -> tuple[str, int, str | None]:
    """Return a job's state, attempt and owner, which its server need not tell."""
    settings = server.settings()
    store = Store(settings)
    job = Jobs(store, settings).get(job_id)
    store.close()
    return job["state"], job["attempt"], job["owner"]


def running_again(server: Server, job_id: int, attempt: int) -> dict[str, Any] | None:
    """Return a job if it is being tried for the nth time."""
    job = show(server, job_id)
    return job if (job["state"], job["attempt"]) == ("running", attempt) else None


def cancel_all(server: Server) -> None:
    """Cancel whatever is left of a test that failed halfway, or had an endless job."""
    for state in ("queued", "running"):
        for job in server.client.get(f"/train?state={state}").json()["jobs"]:
            server.client.delete(f"/train/{job['id']}")


def activate(server: Server, version: int) -> None:
    """Let a version serve, whichever does now."""
    answer = server.client.put(
        "/models/active", json={"version": version}, headers={"If-Match": "*"}
    )
    assert answer.json()["version"] == version


def enqueue(store: Store, data: Dataset, config: TrainingConfig) -> int:
    """Enqueue a job without any server, even one that no request could ask for."""
    submission = Submission(
        data=data, config=config, promote="never", note=None, warnings=()
    )
    job_id: int = Jobs(store, Settings()).enqueue(submission)[0]["id"]
    return job_id


def newest(client: httpx.Client) -> list[int]:
    """Return the id of the newest job, if there is any."""
    return [job["id"] for job in client.get("/train?limit=1").json()["jobs"]]


def model_of(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Return the version that came of a job."""
    model: dict[str, Any] = client.get(job["links"]["model"]).json()
    return model
