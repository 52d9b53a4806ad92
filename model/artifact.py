"""The artifact: a trained network as safetensors bytes, written and verified here.

Four float64 tensors W1, b1, W2, b2, and one metadata entry `offsetnet`, a JSON
object with sorted keys (one entry, because safetensors writes several in random
order). Equal trainings give equal bytes: time, parent and job stand elsewhere.

Without a known hash, flipped bits that leave all this in order cannot be seen:
a weight that moves the golden answers by less than 1e-12, or a changed number in
the metadata. That is why the hash of record is kept apart from the file.
"""

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, NoReturn, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from model.artifact_errors import (
    FormatError,
    GoldenError,
    HashError,
    MetadataError,
    NonFiniteError,
    StructureError,
    TensorError,
)
from model.data import LABELS, OFFSETS, ORIGINS, Dataset, Ranges
from model.evaluation import Metrics, evaluate
from model.network import LOSSES, MAX_WEIGHT, Params
from model.prediction import predict_proba
from model.training import ARTICLE_CONFIG, TrainingConfig

FORMAT_VERSION: Final = 1
MAX_ARTIFACT_BYTES: Final = 1 << 20
GOLDEN_TOLERANCE: Final = 1e-12
SHIPPED_SHA256: Final = (
    "665b0de99b23174e5211b6bed6709d9fa5c2e04544ee6ff19010ee62753b0ac2"
)

_ENTRY: Final = "offsetnet"
_GOLDEN_PEOPLE: Final = ((0.0, 0.0), (-7.0, -3.0), (20.0, 2.0))  # origin, Emily, Frank
_FEATURES: Final = [
    {"name": name, "unit": unit, "origin": origin}
    for name, unit, origin in zip(OFFSETS.columns, ("lb", "in"), ORIGINS, strict=True)
]
_EXAMPLE: Final = {  # the keys and types of the metadata
    "format_version": FORMAT_VERSION,
    "features": _FEATURES,
    "labels": list(LABELS),
    "config": ARTICLE_CONFIG.to_dict(),
    "dataset": {"sha256": "", "rows": 0},
    "ranges": {"weight": [0.0, 0.0], "height": [0.0, 0.0]},
    "metrics": dict.fromkeys(Metrics._fields, 0.0),
    "holdout_rows": 0,
    "golden": [0.0] * len(_GOLDEN_PEOPLE),
}
_SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A trained network and what is known of its training.

    Attributes:
        params: The network, taking plain offsets.
        config: How it was trained.
        dataset_sha256: The hash of the people it was trained on.
        rows: How many they were, the holdout included.
        ranges: What their offsets spanned.
        metrics: Quality on the holdout, or without one on the training people.
        holdout_rows: How many the holdout held; 0 without one.
    """

    params: Params
    config: TrainingConfig
    dataset_sha256: str
    rows: int
    ranges: Ranges
    metrics: Metrics
    holdout_rows: int

    @classmethod
    def of_training(cls, params: Params, data: Dataset, config: TrainingConfig) -> Self:
        """Describe what `train(data, config)` ended with."""
        training, holdout = data.split(config.holdout, config.seed)
        return cls(
            params=params,
            config=config,
            dataset_sha256=data.sha256,
            rows=len(data),
            ranges=data.ranges,
            metrics=evaluate(params, training if holdout is None else holdout),
            holdout_rows=0 if holdout is None else len(holdout),
        )


def save(artifact: Artifact) -> bytes:
    """Return the artifact's bytes, the same for equal artifacts."""
    text = json.dumps(_to_metadata(artifact), sort_keys=True, allow_nan=False)
    return save_tensors(artifact.params._asdict(), metadata={_ENTRY: text})


def load(content: bytes, sha256: str | None = None) -> Artifact:
    """Verify an artifact's bytes and return what they hold.

    Args:
        content: The whole file.
        sha256: The hash of record, where one is known.

    Raises:
        ArtifactError: One of its kinds, for the first damage found.
    """
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise HashError(f"the SHA-256 is not {sha256[:12]}...")
    params = _read_params(content)
    metadata = _read_metadata(content)
    artifact = _to_artifact(params, metadata)
    _check_golden(params, metadata["golden"])
    return artifact


def load_shipped() -> bytes:
    """Return the bytes of the artifact that comes with the package, verified.

    Raises:
        ArtifactError: The installed file is damaged.
    """
    content = files("model").joinpath("weights", "article.safetensors").read_bytes()
    load(content, SHIPPED_SHA256)
    return content


def _read_params(content: bytes) -> Params:
    if len(content) > MAX_ARTIFACT_BYTES:
        raise StructureError(
            f"{len(content)} bytes, expected at most {MAX_ARTIFACT_BYTES}"
        )
    try:
        tensors = load_tensors(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise StructureError(f"not safetensors: {error!r}") from error
    if set(tensors) != set(Params._fields):
        raise TensorError(f"expected {Params._fields}, got {tuple(sorted(tensors))}")
    params = Params(**tensors)
    H = params.b1.size
    expected = Params((2, H), (H,), (H, 1), (1,))  # type: ignore[arg-type] # shapes
    for name, tensor, shape in zip(Params._fields, params, expected, strict=True):
        if tensor.dtype != np.float64 or tensor.shape != shape or H == 0:
            raise TensorError(
                f"{name}: expected float64 {shape}, got {tensor.dtype} {tensor.shape}"
            )
        if not (np.abs(tensor) <= MAX_WEIGHT).all():
            raise NonFiniteError(f"{name}: NaN, or beyond {MAX_WEIGHT:g}")
    return params


def _read_metadata(content: bytes) -> dict[str, Any]:
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size], object_pairs_hook=_unique)
    try:
        metadata = json.loads(
            header["__metadata__"][_ENTRY], parse_constant=_refuse_constant
        )
        version = metadata["format_version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MetadataError("no readable metadata") from error
    if version != FORMAT_VERSION:
        raise FormatError(f"format {version!r}, expected {FORMAT_VERSION}")
    return dict(metadata)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a header that names a tensor twice, which safetensors takes."""
    if len(dict(pairs)) != len(pairs):
        raise StructureError("a name stands twice in the header")
    return dict(pairs)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _to_metadata(artifact: Artifact) -> dict[str, Any]:
    golden = predict_proba(artifact.params, np.array(_GOLDEN_PEOPLE)).tolist()
    return {
        "format_version": FORMAT_VERSION,
        "features": _FEATURES,
        "labels": list(LABELS),
        "config": artifact.config.to_dict(),
        "dataset": {"sha256": artifact.dataset_sha256, "rows": artifact.rows},
        "ranges": {
            name: list(ends) for name, ends in artifact.ranges._asdict().items()
        },
        "metrics": artifact.metrics._asdict(),
        "holdout_rows": artifact.holdout_rows,
        "golden": golden,
    }


def _to_artifact(params: Params, metadata: dict[str, Any]) -> Artifact:
    if not (
        _is_like(metadata, _EXAMPLE)
        and metadata["features"] == _FEATURES
        and metadata["labels"] == list(LABELS)
        and metadata["config"]["loss"] in LOSSES
        and metadata["config"]["hidden_units"] == params.b1.size
        and _SHA256.fullmatch(metadata["dataset"]["sha256"])
    ):
        raise MetadataError("the metadata does not describe this network")
    return Artifact(
        params=params,
        config=TrainingConfig(**metadata["config"]),
        dataset_sha256=metadata["dataset"]["sha256"],
        rows=metadata["dataset"]["rows"],
        ranges=Ranges(**{k: tuple(v) for k, v in metadata["ranges"].items()}),
        metrics=Metrics(**metadata["metrics"]),
        holdout_rows=metadata["holdout_rows"],
    )


def _is_like(value: object, example: object) -> bool:
    """Tell whether JSON has the keys, lengths and types of an example.

    None in the example stands for None or a whole number.
    """
    if isinstance(value, dict) and isinstance(example, dict):
        return value.keys() == example.keys() and all(
            _is_like(value[key], example[key]) for key in example
        )
    if isinstance(value, list) and isinstance(example, list):
        return len(value) == len(example) and all(map(_is_like, value, example))
    if example is None:
        return value is None or type(value) is int
    return type(value) is type(example) and value not in (math.inf, -math.inf)


def _check_golden(params: Params, golden: list[float]) -> None:
    gaps = predict_proba(params, np.array(_GOLDEN_PEOPLE)) - np.array(golden)
    if not np.abs(gaps).max() <= GOLDEN_TOLERANCE:
        raise GoldenError(f"the golden predictions are off by {np.abs(gaps).max():.3g}")
