"""Damage artifacts in every small way: with the hash of record none may be taken.

Each file of weights is cut before each of its bytes, each of its bits is turned, bytes
are added, and its header is changed as somebody would who knows the format: values,
types, names and places of tensors and of the metadata, its length, what stands twice.
With the hash of record, as the service reads versions, all must be refused. Without it,
as `offsetnet models verify FILE` reads, what is taken must answer as the whole file
does, to 1e-12 (a number of the metadata may differ, which only the hash can tell).
Nothing but `ArtifactError` may be raised.

Usage: python -m tests.faults.artifacts [--headers N] [--seed N]
"""

import argparse
import hashlib
import json
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import islice
from random import Random
from typing import Any, Final

import numpy as np
from rich.table import Table

from model import (
    ARTICLE_PEOPLE,
    Artifact,
    ArtifactError,
    TrainingConfig,
    load,
    load_shipped,
    predict_proba,
    save,
    train,
)
from tests.faults.report import report
from tests.model.forging import assemble, header_of, metadata_of, tensors_of, with_entry

ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 1, 2, 8, 16, 2**31, 2**63, 2**64, 10**400, 1.0, 0.5, -0.0),
    *(1e308, float("nan"), float("inf"), "", "F64", "F32", "I64", "BOOL", "W1", "b2"),
    *("\ud800", "\0", "x" * 5000, [], {}, [[]], [0, 8], [2, 2], [8, 0], [0] * 500),
    *({"a": 1}, {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}),
)
GOLDEN: Final = np.array([(0.0, 0.0), (-7.0, -3.0), (20.0, 2.0)])
TOLERANCE: Final = 2e-12  # each answer is within 1e-12 of what the file says


def cuts(content: bytes) -> Iterator[bytes]:
    """Yield the file cut before each of its bytes."""
    for length in range(len(content)):
        yield content[:length]


def flips(content: bytes) -> Iterator[bytes]:
    """Yield the file with each of its bits turned."""
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def additions(content: bytes) -> Iterator[bytes]:
    """Yield the file with bytes before and behind it."""
    for value in range(256):
        yield content + bytes([value])
        yield bytes([value]) + content
    yield from (content + bytes(size) for size in (8, 4096, 1 << 20))
    yield content + content


def headers(content: bytes, choice: Random) -> Iterator[bytes]:
    """Yield the file with changes to its header, without end."""
    while True:
        header = json.loads(header_of(content))
        kind = choice.randrange(6)
        if kind == 0:
            text = json.dumps(header)
            doubled = json.dumps({choice.choice([*header]): choice.choice(ODD)})
            yield assemble(f"{text[:-1]}, {doubled[1:]}", tensors_of(content))
        elif kind == 1:
            (size,) = struct.unpack("<Q", content[:8])
            size = choice.choice((size + choice.randint(-9, 9), 2**63, 2**64 - 1, 0))
            yield struct.pack("<Q", size) + content[8:]
        elif kind == 2:
            at = choice.randrange(len(header_of(content)))
            text = header_of(content)
            end = at + choice.randint(0, 5)
            odd = choice.choice(["", " ", "\0", "é", "{", '"', "9" * 5000])
            yield assemble(text[:at] + odd + text[end:], tensors_of(content))
        elif kind == 3:
            yield with_entry(
                content, json.dumps(_changed(metadata_of(content), choice))
            )
        else:
            changed = json.dumps(_changed(header, choice))
            yield assemble(changed, tensors_of(content))


def _changed(value: Any, choice: Random) -> Any:
    """Return JSON with a value replaced, taken out, added, or under another name."""
    changed = deepcopy(value)
    place, key = choice.choice([*_places(changed)])
    kind = choice.randrange(4)
    if kind == 0:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[choice.choice(("x", "W1", "W2", "b1", "__metadata__"))] = place.pop(key)
    elif kind == 2:
        other, name = choice.choice([*_places(changed)])
        place[key] = deepcopy(other[name])
    else:
        place[key] = deepcopy(choice.choice(ODD))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in JSON with each of its keys or places."""
    if isinstance(value, dict | list):
        for key in [*value] if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def play(content: bytes, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Return how many of each kind were tried, and taken; and what is wrong."""
    choice = Random(seed)  # noqa: S311 - no secret
    record = hashlib.sha256(content).hexdigest()
    expected = predict_proba(load(content).params, GOLDEN)
    kinds = {
        "cut": cuts(content),
        "a bit turned": flips(content),
        "bytes added": additions(content),
        "header changed": islice(headers(content, choice), count),
    }
    tried, wrong = Counter[str](), list[str]()
    for kind, damaged in kinds.items():
        for one in damaged:
            if one == content:
                continue
            tried[kind] += 1
            if _taken(one, record) is not None:
                wrong.append(f"taken with the hash of record: {one!r}")
            loaded = _taken(one)
            if loaded is None:
                continue
            tried[f"{kind}, taken without the hash"] += 1
            gaps = predict_proba(loaded.params, GOLDEN) - expected
            if np.abs(gaps).max() > TOLERANCE:
                wrong.append(f"another network was taken: {one!r}")
    return tried, wrong


def _taken(content: bytes, sha256: str | None = None) -> Artifact | None:
    """Return what is loaded, None where it is refused."""
    with suppress(ArtifactError):
        return load(content, sha256)
    return None


def wide() -> bytes:
    """Return an artifact of as many hidden units as there may be."""
    config = TrainingConfig(hidden_units=64, epochs=1)
    *_, last = train(ARTICLE_PEOPLE, config)
    return save(Artifact.of_training(last.params, ARTICLE_PEOPLE, config))


def main() -> int:
    """Damage two artifacts, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--headers", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    table = Table("artifact", "damage", "tried", "taken", "without the hash", "seed")
    wrong = []
    for name, content in {"2 units": load_shipped(), "64 units": wide()}.items():
        tried, faults = play(content, options.headers, options.seed)
        wrong += faults
        for kind in ("cut", "a bit turned", "bytes added", "header changed"):
            loose = tried[f"{kind}, taken without the hash"]
            taken = sum(one.startswith("taken") for one in faults)
            counts = (str(tried[kind]), str(taken), str(loose), str(options.seed))
            table.add_row(f"{name}, {len(content)} bytes", kind, *counts)
    return report(table, wrong)


if __name__ == "__main__":
    sys.exit(main())
