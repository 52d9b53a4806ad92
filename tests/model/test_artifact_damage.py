"""Forged artifacts: each damage is refused by the error of its kind."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from model import MAX_ARTIFACT_BYTES, ArtifactError, Params, load, save
from model.artifact_errors import (
    FormatError,
    GoldenError,
    MetadataError,
    NonFiniteError,
    StructureError,
    TensorError,
)
from tests.model.forging import (
    assemble,
    header_of,
    metadata_of,
    tensors_of,
    with_entry,
    with_tensors,
    with_value,
)


def nested(depth: int) -> str:
    """Return JSON of lists within lists."""
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x04N.", id="pickle"),
        pytest.param(b"\x93NUMPY\x01\x00v\x00", id="npy"),
        pytest.param(b"\xff" * 100, id="header-of-2^64-bytes"),
        pytest.param(assemble("{", b""), id="open-header"),
    ],
)
def test_d9_what_is_not_safetensors_is_refused(content: bytes) -> None:
    with pytest.raises(StructureError, match="not safetensors"):
        load(content)


def test_d9_bytes_at_the_end_are_refused(shipped: bytes) -> None:
    with pytest.raises(StructureError):
        load(shipped + b"\0")


def test_d9_a_file_too_large_is_refused() -> None:
    with pytest.raises(StructureError, match="1048577 bytes, expected at most 1048576"):
        load(bytes(MAX_ARTIFACT_BYTES + 1))


def test_a_file_of_the_largest_size_is_read(shipped: bytes) -> None:
    room = MAX_ARTIFACT_BYTES - len(shipped)
    padded = assemble(header_of(shipped) + " " * room, tensors_of(shipped))

    assert len(padded) == MAX_ARTIFACT_BYTES
    assert load(padded).rows == 4


def test_a_tensor_named_twice_is_refused(shipped: bytes) -> None:
    header = json.loads(header_of(shipped))
    twice = f"{json.dumps(header)[:-1]}, {json.dumps({'b2': header['b2']})[1:]}"

    with pytest.raises(StructureError, match=r"^a name stands twice in the header$"):
        load(assemble(twice, tensors_of(shipped)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", Params._fields)
def test_d9_a_weight_that_is_not_finite_is_refused(
    shipped: bytes, name: str, value: float
) -> None:
    tensor = load_tensors(shipped)[name].copy()
    tensor.flat[-1] = value

    with pytest.raises(NonFiniteError, match=rf"^{name}: NaN, or beyond 1e\+100$"):
        load(with_tensors(shipped, {name: tensor}))


@pytest.mark.parametrize("value", [1e100, -1e100])
def test_the_largest_weight_is_none_too_large(shipped: bytes, value: float) -> None:
    artifact = load(shipped)
    params = artifact.params._replace(b2=np.array([value]))

    assert load(save(replace(artifact, params=params))).params.b2 == value


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"b2": None}, id="missing"),
        pytest.param({"W3": np.zeros(1)}, id="unknown"),
        pytest.param({"W1": np.zeros((2, 2), np.float32)}, id="float32"),
        pytest.param({"b1": np.zeros(2, np.int64)}, id="int64"),
        pytest.param({"W1": np.zeros((3, 2))}, id="three-inputs"),
        pytest.param({"W1": np.zeros(4)}, id="flat"),
        pytest.param({"b1": np.zeros((2, 1))}, id="column"),
        pytest.param({"b1": np.zeros(3)}, id="another-width"),
        pytest.param({"W2": np.zeros((2, 2))}, id="two-outputs"),
        pytest.param({"b2": np.zeros(())}, id="scalar"),
        pytest.param(
            {"W1": np.zeros((2, 0)), "b1": np.zeros(0), "W2": np.zeros((0, 1))},
            id="no-hidden-unit",
        ),
    ],
)
def test_d9_other_tensors_are_refused(shipped: bytes, changes: dict[str, Any]) -> None:
    with pytest.raises(TensorError, match=r"expected .*, got "):
        load(with_tensors(shipped, changes))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("BF16", "[4]"), ("F8_E4M3", "[8]"), ("F4", "[16]")]
)
def test_a_type_that_numpy_does_not_know_is_refused(
    shipped: bytes, dtype: str, shape: str
) -> None:
    header = header_of(shipped).replace(
        '"F64","shape":[1]', f'"{dtype}","shape":{shape}'
    )

    with pytest.raises(ArtifactError):
        load(assemble(header, tensors_of(shipped)))


@pytest.mark.parametrize("change", [1e-6, -1e-6])
def test_another_answer_than_the_golden_one_is_refused(
    shipped: bytes, change: float
) -> None:
    moved = load_tensors(shipped)["b2"] + change

    with pytest.raises(GoldenError, match="the golden predictions are off by "):
        load(with_tensors(shipped, {"b2": moved}))


@pytest.mark.parametrize("person", range(3), ids=["origin", "Emily", "Frank"])
def test_another_golden_answer_is_refused(shipped: bytes, person: int) -> None:
    golden = metadata_of(shipped)["golden"]
    golden[person] += 2e-12

    with pytest.raises(GoldenError):
        load(with_value(shipped, "golden", golden))


def test_a_golden_answer_of_another_cpu_is_accepted(shipped: bytes) -> None:
    golden = [answer + 1e-13 for answer in metadata_of(shipped)["golden"]]

    load(with_value(shipped, "golden", golden))


@pytest.mark.parametrize("version", [0, 2, "1", None], ids=repr)
def test_another_format_version_is_refused(shipped: bytes, version: object) -> None:
    with pytest.raises(FormatError, match=rf"^format {version!r}, expected 1$"):
        load(with_value(shipped, "format_version", version))


@pytest.mark.parametrize("metadata", [None, {}, {"other": "{}"}], ids=repr)
def test_a_file_without_our_metadata_is_refused(
    shipped: bytes, metadata: dict[str, str] | None
) -> None:
    content = save_tensors(load_tensors(shipped), metadata=metadata)

    with pytest.raises(MetadataError):
        load(content)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{'config': 1}", id="not-JSON"),
        pytest.param("[1]", id="list"),
        pytest.param("null", id="null"),
        pytest.param("{}", id="no-version"),
        pytest.param('{"format_version": ' + "1" * 5_000 + "}", id="5000-digits"),
        pytest.param(nested(100_000), id="deep"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(shipped: bytes, text: str) -> None:
    with pytest.raises(MetadataError, match=r"^no readable metadata$"):
        load(with_entry(shipped, text))


@pytest.mark.parametrize(
    "path",
    [
        *("config", "dataset", "features", "format_version", "golden", "holdout_rows"),
        *("labels", "metrics", "ranges", "config.seed", "dataset.rows"),
        *("dataset.sha256", "metrics.mse", "ranges.weight"),
    ],
)
def test_metadata_with_a_key_missing_is_refused(shipped: bytes, path: str) -> None:
    metadata = metadata_of(shipped)
    *parents, last = path.split(".")
    del (metadata[parents[0]] if parents else metadata)[last]

    with pytest.raises(MetadataError):
        load(with_entry(shipped, json.dumps(metadata)))


@pytest.mark.parametrize(
    "path", ["time", "config.optimizer", "dataset.name", "metrics.auc", "ranges.age"]
)
def test_metadata_with_a_key_too_many_is_refused(shipped: bytes, path: str) -> None:
    with pytest.raises(MetadataError):
        load(with_value(shipped, path, 0))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("config.hidden_units", 3, id="width"),
        pytest.param("features", [], id="features"),
        pytest.param("labels", ["F", "M"], id="labels"),
    ],
)
def test_metadata_of_another_network_is_refused(
    shipped: bytes, path: str, value: object
) -> None:
    with pytest.raises(
        MetadataError, match=r"^the metadata does not describe this network$"
    ):
        load(with_value(shipped, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("config", [], id="config-list"),
        pytest.param("config", None, id="config-null"),
        pytest.param("config.hidden_units", "2", id="width-text"),
        pytest.param("config.learning_rate", "x", id="rate-text"),
        pytest.param("config.loss", "mae", id="unknown-loss"),
        pytest.param("config.patience", "20", id="patience-text"),
        pytest.param("config.shuffle", 0, id="shuffle-number"),
        pytest.param("dataset", 4, id="dataset-number"),
        pytest.param("dataset.rows", "four", id="rows-text"),
        pytest.param("dataset.sha256", 5, id="hash-number"),
        pytest.param("dataset.sha256", "\ud800", id="hash-surrogate"),
        pytest.param("format_version", True, id="version-true"),
        pytest.param("golden", None, id="golden-null"),
        pytest.param("golden", {}, id="golden-object"),
        pytest.param("golden", ["F", "F", "M"], id="golden-labels"),
        pytest.param("golden", [], id="golden-empty"),
        pytest.param("golden", [10**400, 0, 0], id="golden-of-400-digits"),
        pytest.param("holdout_rows", None, id="holdout-null"),
        pytest.param("metrics", [0, 0, 0, 0], id="metrics-list"),
        pytest.param("metrics.mse", "low", id="mse-text"),
        pytest.param("metrics.mse", math.nan, id="mse-nan"),
        pytest.param("ranges", 1, id="ranges-number"),
        pytest.param("ranges.weight", 1, id="range-number"),
        pytest.param("ranges.weight", "ab", id="range-text"),
        pytest.param("ranges.weight", [1.0], id="range-of-one"),
        pytest.param("ranges.weight", ["a", "b"], id="range-of-text"),
    ],
)
def test_metadata_of_another_type_is_refused(
    shipped: bytes, path: str, value: object
) -> None:
    with pytest.raises(MetadataError):
        load(with_value(shipped, path, value))


@pytest.mark.parametrize("in_list", [False, True], ids=["text", "nested"])
def test_golden_answers_of_another_shape_are_refused(
    shipped: bytes, *, in_list: bool
) -> None:
    golden = metadata_of(shipped)["golden"]

    with pytest.raises(MetadataError):
        load(
            with_value(shipped, "golden", [golden] if in_list else [*map(str, golden)])
        )


@pytest.mark.parametrize(
    ("written", "forged"),
    [
        pytest.param('"unit": "lb"', '"unit": "kg"', id="unit"),
        pytest.param('"origin": 66.0', '"origin": 68.0', id="origin"),
        pytest.param('"accuracy": 1.0', '"accuracy": 1e999', id="overflow"),
        pytest.param('"accuracy": 1.0', '"accuracy": -1e999', id="negative-overflow"),
    ],
)
def test_metadata_with_another_value_is_refused(
    shipped: bytes, written: str, forged: str
) -> None:
    text = json.dumps(metadata_of(shipped)).replace(written, forged)

    with pytest.raises(MetadataError):
        load(with_entry(shipped, text))


def test_settings_nested_too_deep_are_refused(shipped: bytes) -> None:
    text = json.dumps(metadata_of(shipped)).replace('"mse"', nested(900), 1)

    with pytest.raises(MetadataError):
        load(with_entry(shipped, text))
