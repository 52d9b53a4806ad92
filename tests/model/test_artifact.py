"""The artifact: what was trained comes back, and damaged bytes do not."""

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import model
from model import (
    ARTICLE_CONFIG,
    ARTICLE_PEOPLE,
    SHIPPED_SHA256,
    Artifact,
    ArtifactError,
    Dataset,
    TrainingConfig,
    evaluate,
    load,
    load_shipped,
    save,
    train,
)
from model.artifact_errors import HashError, StructureError
from tests.model.forging import header_of, metadata_of

PROGRAM = """
import sys
from model import *
*_, last = train(ARTICLE_PEOPLE, ARTICLE_CONFIG)
artifact = Artifact.of_training(last.params, ARTICLE_PEOPLE, ARTICLE_CONFIG)
sys.stdout.buffer.write(save(artifact))
"""


def train_artifact(data: Dataset, config: TrainingConfig) -> Artifact:
    """Return what a training ends with."""
    *_, last = train(data, config)
    return Artifact.of_training(last.params, data, config)


def with_bits_flipped(content: bytes) -> Iterator[bytes]:
    """Yield the file with each of its bits flipped in turn."""
    for position in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            yield bytes(flipped)


@pytest.fixture(scope="module")
def trained(people: Dataset) -> Artifact:
    """Train on real-looking people, with a holdout."""
    return train_artifact(people, TrainingConfig(epochs=5, hidden_units=3))


def test_the_network_comes_back_bit_for_bit(trained: Artifact) -> None:
    params = load(save(trained)).params

    assert all(map(np.array_equal, params, trained.params))


def test_everything_known_of_the_training_comes_back(trained: Artifact) -> None:
    loaded = load(save(trained))

    assert replace(loaded, params=trained.params) == trained


def test_what_was_loaded_is_saved_as_the_same_bytes(trained: Artifact) -> None:
    content = save(trained)

    assert save(load(content)) == content


def test_the_metadata_is_sorted_by_its_keys(trained: Artifact) -> None:
    metadata = metadata_of(save(trained))

    text = json.dumps(metadata)
    assert text == json.dumps(metadata, sort_keys=True)
    assert json.dumps(text) in header_of(save(trained))


def test_the_hash_of_record_is_accepted(trained: Artifact) -> None:
    content = save(trained)

    assert load(content, hashlib.sha256(content).hexdigest()).rows == 300


def test_a_training_is_measured_on_its_holdout(
    people: Dataset, trained: Artifact
) -> None:
    _, holdout = people.split(trained.config.holdout, trained.config.seed)
    assert holdout is not None

    assert (trained.metrics, trained.holdout_rows) == (
        evaluate(trained.params, holdout),
        len(holdout),
    )


def test_a_training_without_a_holdout_is_measured_on_its_people() -> None:
    artifact = train_artifact(ARTICLE_PEOPLE, replace(ARTICLE_CONFIG, epochs=1))

    assert (artifact.metrics, artifact.holdout_rows) == (
        evaluate(artifact.params, ARTICLE_PEOPLE),
        0,
    )


def test_a_training_is_described_by_all_its_people(
    people: Dataset, trained: Artifact
) -> None:
    described = (trained.rows, trained.dataset_sha256, trained.ranges)

    assert described == (300, people.sha256, people.ranges)


def test_two_processes_write_the_same_bytes() -> None:
    contents = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert contents[0] == contents[1] != b""


def test_the_shipped_file_is_the_one_of_record(shipped: bytes) -> None:
    assert hashlib.sha256(shipped).hexdigest() == SHIPPED_SHA256


def test_another_hash_than_that_of_record_is_named(shipped: bytes) -> None:
    with pytest.raises(HashError) as refusal:
        load(shipped, "0123456789abcdef" * 4)

    assert str(refusal.value) == "the SHA-256 is not 0123456789ab..."


def test_a_changed_shipped_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(Path(model.__file__).parent, tmp_path / "model")
    shipped = tmp_path / "model" / "weights" / "article.safetensors"
    content = load_shipped()
    shipped.write_bytes(content.replace(b'epochs\\": 1000', b'epochs\\": 9000'))

    ended = subprocess.run(
        [sys.executable, "-Pc", "import model; model.load_shipped()"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        check=False,
    )

    assert shipped.read_bytes() != content
    assert b"HashError: the SHA-256 is not 665b0de99b23..." in ended.stderr


def test_the_shipped_network_is_the_article_trained(shipped: bytes) -> None:
    trained = train_artifact(ARTICLE_PEOPLE, ARTICLE_CONFIG)

    for ours, now in zip(load(shipped).params, trained.params, strict=True):
        np.testing.assert_allclose(ours, now, rtol=0, atol=1e-9)  # CPUs differ


def test_training_the_article_twice_gives_the_same_bytes() -> None:
    first, second = (train_artifact(ARTICLE_PEOPLE, ARTICLE_CONFIG) for _ in range(2))

    assert save(first) == save(second)


def test_d9_with_the_hash_every_truncation_is_refused(shipped: bytes) -> None:
    for length in range(len(shipped)):
        with pytest.raises(HashError):
            load(shipped[:length], SHIPPED_SHA256)


def test_d9_with_the_hash_every_flipped_bit_is_refused(shipped: bytes) -> None:
    refused = 0

    for flipped in with_bits_flipped(shipped):
        with pytest.raises(HashError):
            load(flipped, SHIPPED_SHA256)
        refused += 1

    assert refused == 8 * len(shipped) == 9_536


def test_d9_without_the_hash_every_truncation_is_refused(shipped: bytes) -> None:
    for length in range(len(shipped)):
        with pytest.raises(StructureError):
            load(shipped[:length])


def test_without_the_hash_a_flipped_bit_loads_or_is_refused(shipped: bytes) -> None:
    refused = 0

    for flipped in with_bits_flipped(shipped):
        try:
            load(flipped)
        except ArtifactError:  # anything else would come through
            refused += 1

    assert refused > 7 * len(shipped)


def test_metrics_that_are_not_finite_are_not_saved(trained: Artifact) -> None:
    metrics = trained.metrics._replace(mse=math.nan)

    with pytest.raises(ValueError, match="not JSON compliant"):
        save(replace(trained, metrics=metrics))
