"""What the documentation of the standard protocols shows, as the service gave it."""

from typing import Any, Final

from app import __version__
from app.examples import ANSWERS as OWN

_REQUEST_ID: Final = "7f87d5a3b20c8584"
_PEOPLE: Final = {
    "name": "features",
    "shape": [2, 2],
    "datatype": "FP64",
    "data": [[-7, -3], [20, 2]],
}
_EMILY: Final = OWN["predict_batch"]["predictions"][0]
_FRANK: Final = {
    "probability": 0.040101240647455724,
    "label": "M",
    "extrapolating": False,
}
_NOTHING: Final = {"count": 0, "ns": 0}
_ONCE: Final = {"count": 1, "ns": 61_000}

REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "v2_infer": {
        "all outputs": {"inputs": [_PEOPLE]},
        "one output": {
            "id": "42",
            "inputs": [_PEOPLE],
            "outputs": [{"name": "probability"}],
        },
    },
    "v2_index_repository": {"all": {}, "active": {"ready": True}},
    "v2_load_model": {"nothing more": {}},
    "v1_predict": {
        "rows": {"instances": [[-7, -3], [20, 2]]},
        "objects": {"instances": [{"weight_lb": 128, "height_in": 63}]},
    },
}
"""By operation, the same with and without a version."""

ANSWERS: Final[dict[str, Any]] = {
    "v2_infer": {
        "model_name": "offsetnet",
        "model_version": "1",
        "outputs": [
            {
                "name": "probability",
                "shape": [2, 1],
                "datatype": "FP64",
                "data": [_EMILY["probability"], _FRANK["probability"]],
            },
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["F", "M"]},
        ],
    },
    "v2_describe_server": {
        "name": "offsetnet",
        "version": __version__,
        "extensions": [
            "binary_tensor_data",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    },
    "v2_is_live": {"live": True},
    "v2_is_ready": {"ready": True, "live": True},
    "v2_is_model_ready": {"name": "offsetnet", "ready": True},
    "v2_list_models": {"models": ["offsetnet"]},
    "v2_show_statistics": {
        "model_stats": [
            {
                "name": "offsetnet",
                "version": "1",
                "last_inference": 1_795_502_594_402,
                "inference_count": 2,
                "execution_count": 1,
                "inference_stats": {
                    "success": _ONCE,
                    "fail": _NOTHING,
                    "queue": {"count": 1, "ns": 0},
                    "compute_input": _NOTHING,
                    "compute_infer": _ONCE,
                    "compute_output": _NOTHING,
                    "cache_hit": _NOTHING,
                    "cache_miss": _NOTHING,
                },
                "batch_stats": [],
                "memory_usage": [],
            }
        ]
    },
    "v2_describe_model": {
        "name": "offsetnet",
        "versions": ["1"],
        "platform": "numpy_safetensors",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [
            {"name": "probability", "datatype": "FP64", "shape": [-1, 1]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
        ],
        "properties": {
            "columns": "weight_offset,height_offset",
            "weights_sha256": OWN["get_model"]["sha256"],
        },
    },
    "v2_show_configuration": {
        "name": "offsetnet",
        "platform": "numpy_safetensors",
        "max_batch_size": 0,
        "input": [{"name": "features", "data_type": "TYPE_FP64", "dims": [-1, 2]}],
        "output": [
            {"name": "probability", "data_type": "TYPE_FP64", "dims": [-1, 1]},
            {"name": "label", "data_type": "TYPE_STRING", "dims": [-1]},
        ],
    },
    "v2_index_repository": [
        {"name": "offsetnet", "version": "1", "state": "READY", "reason": ""}
    ],
    "v2_load_model": {},
    "v1_list_models": {"models": ["offsetnet"]},
    "v1_is_model_ready": {"name": "offsetnet", "ready": True},
    "v1_predict": {"predictions": [_EMILY, _FRANK]},
}


def _error(error: str, code: str) -> dict[str, str]:
    return {"error": error, "code": code, "request_id": _REQUEST_ID}


_TENSOR: Final = "features: expected 4 numbers for shape [2, 2], got 3"
_HOST: Final = (
    "this Host is not answered on loopback; OFFSETNET_ALLOWED_HOSTS adds names"
)
_OBJECT: Final = "expected a JSON object, or nothing"

ERRORS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "400": ("A foreign Host", _error(_HOST, "foreign-host")),
    "v2_infer 400": ("It breaks the protocol", _error(_TENSOR, "inference")),
    "v2_index_repository 400": ("No object", _error(_OBJECT, "inference")),
    "v2_load_model 400": ("No object", _error(_OBJECT, "inference")),
    "v1_predict 400": (
        "It breaks the protocol",
        _error("instances: data is not of the shape [2, 2]", "inference"),
    ),
    "401": ("A key is needed", _error("a valid key is needed", "unauthenticated")),
    "403": (
        "The key does not reach this far",
        _error("this key may predict and read only", "forbidden"),
    ),
    "404": (
        "No such model or version",
        _error("there is one model here, offsetnet", "not-found"),
    ),
    "429": (
        "Too many wrong keys",
        _error("too many wrong keys came from this address", "wrong-keys"),
    ),
    "413": (
        "The body is too large",
        _error("the body may have 262144 bytes", "too-large"),
    ),
    "415": (
        "The body may not be compressed",
        _error("send the body without a content coding", "content-coding"),
    ),
    "501": ("This is not served", _error("sequences are not supported", "unsupported")),
    "v2_unload_model 501": (
        "This is not served",
        _error("unload is not supported", "unsupported"),
    ),
    "503": (
        "Nothing is loaded, or the process stops",
        _error("no verified version is loaded", "not-ready"),
    ),
    "v2_is_ready 503": (
        "Nothing is loaded, or the process stops",
        _error("not ready", "not-ready"),
    ),
}
"""By status, or operation and status: what it means, and an example."""
