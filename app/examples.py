"""The answers that the documentation shows, as the service gave them."""

import json
from typing import Any, Final

from app import __version__

_CONFIG: Final = {
    "hidden_units": 2,
    "loss": "mse",
    "learning_rate": 0.1,
    "momentum": 0.0,
    "batch_size": 1,
    "epochs": 1000,
    "patience": None,
    "standardize": False,
    "shuffle": False,
    "holdout": 0.0,
    "seed": 0,
}
_DATASET_SHA256: Final = (
    "3dc82b62854cc1d445f86fff245b1f628b07f91a47822ee5f0803e779413038c"
)
_EMILY: Final = {
    "probability": 0.9490425525427413,
    "label": "F",
    "extrapolating": False,
}
_JOB: Final = {
    "id": 1,
    "state": "succeeded",
    "outcome": "promoted",
    "reason": None,
    "attempt": 1,
    "epoch": 1000,
    "epochs": 1000,
    "progress": 1.0,
    "train_loss": 0.0024022498548124144,
    "holdout_loss": None,
    "eta_seconds": None,
    "history": [[8, 0.2564570012636824, None], [1000, 0.0024022498548124144, None]],
    "rows": 4,
    "dataset_sha256": _DATASET_SHA256,
    "config": _CONFIG,
    "promote": "if_better",
    "note": None,
    "warnings": [],
    "metrics": None,
    "model_version": 2,
    "created_at": "2026-11-24T06:43:14.402987Z",
    "started_at": "2026-11-24T06:43:15.051000Z",
    "finished_at": "2026-11-24T06:43:15.496000Z",
    "links": {"self": "/train/1", "events": "/train/1/events", "model": "/models/2"},
}
_QUEUED: Final = _JOB | {
    "state": "queued",
    "outcome": None,
    "attempt": 0,
    "epoch": 0,
    "progress": 0.0,
    "train_loss": None,
    "history": [],
    "model_version": None,
    "started_at": None,
    "finished_at": None,
    "links": {"self": "/train/1", "events": "/train/1/events", "model": None},
}
_MODEL: Final = {
    "version": 1,
    "active": True,
    "created_at": "2026-11-24T06:43:14.217995Z",
    "metrics": {
        "mse": 0.0024022498548124114,
        "log_loss": 0.0494372092010224,
        "accuracy": 1.0,
        "calibration_error": 0.04819309809614927,
    },
    "config": _CONFIG,
    "parent": None,
    "job": None,
    "sha256": "665b0de99b23174e5211b6bed6709d9fa5c2e04544ee6ff19010ee62753b0ac2",
    "dataset_sha256": _DATASET_SHA256,
    "rows": 4,
    "note": None,
}

ANSWERS: Final[dict[str, Any]] = {
    "predict": {**_EMILY, "model_version": 1},
    "predict_batch": {"predictions": [_EMILY, _EMILY], "model_version": 1},
    "train": _QUEUED,
    "train 200": {
        "rows": 4,
        "labels": {"F": 2, "M": 2},
        "split": {"training": 4, "holdout": 0},
        "conflicting_rows": 0,
        "dataset_sha256": _DATASET_SHA256,
        "config": _CONFIG,
        "promote": "if_better",
        "warnings": [],
        "champion": None,
    },
    "list_jobs": {"jobs": [_JOB], "next": None},
    "get_job": _JOB,
    "cancel_job": _QUEUED | {"state": "cancelled", "finished_at": _JOB["finished_at"]},
    "list_models": {"models": [_MODEL], "generation": 1},
    "get_active_model": {**_MODEL, "previous": None},
    "activate_model": {**_MODEL, "previous": 2},
    "get_model": _MODEL,
    "livez": {"live": True},
    "readyz": {"ready": True, "degraded": False},
    "version": {"version": __version__, "model_version": 1},
    "index": {
        "status": "alive",
        "docs": "/docs",
        "openapi": "/openapi.json",
        "predict": "/predict",
        "train": "/train",
        "models": "/models",
    },
    "problem": {"code": "invalid", "title": "The request breaks a rule", "status": 422},
}
"""By operation, or operation and status; a download of weights has no example."""

EVENTS: Final = f"""\
id: 1
event: progress
data: {json.dumps(_QUEUED)}

id: 4
event: succeeded
data: {json.dumps(_JOB)}

"""

BATCH_CSV: Final = """\
weight_lb,height_in,probability,label,extrapolating
128,63,0.9490425525427413,F,false
155,68,0.04010124064745512,M,false
"""

METRICS: Final = """\
# HELP offsetnet_predictions_total People answered.
# TYPE offsetnet_predictions_total counter
offsetnet_predictions_total{label="M"} 0.0
offsetnet_predictions_total{label="F"} 1.0
"""

PROBLEM: Final[dict[str, Any]] = {
    "type": "/problems/invalid",
    "title": "The request breaks a rule",
    "status": 422,
    "detail": "The request breaks a rule",
    "instance": "urn:offsetnet:request:7f87d5a3b20c8584",
    "code": "invalid",
    "request_id": "7f87d5a3b20c8584",
    "errors": [
        {
            "pointer": "/weight_offset",
            "code": "finite_number",
            "detail": "Input should be a finite number",
        }
    ],
}
