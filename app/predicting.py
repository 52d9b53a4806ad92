"""What `offsetnet predict` does: ask a network here, or a server that has one."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import ValidationError

from app.files import read_artifact, read_table
from app.lazily import lazily
from app.prediction import CSV_COLUMNS, answers, csv_lines, predict
from app.registry import ServedModel
from app.shapes import read_person
from app.terminal import show_person, write_rows, wrong_option
from model import Floats, Units

if TYPE_CHECKING:
    from app import connection
else:
    connection = lazily("app.connection")

Answer = Mapping[str, Any]


class Source(Protocol):
    """What answers."""

    def one(self, person: Mapping[str, Any]) -> Answer:
        """Return the answer for one person, whose numbers were checked."""

    def opened(
        self, units: Units
    ) -> AbstractContextManager[Callable[[Floats], Sequence[Answer]]]:
        """Return what answers for up to 1,000 people, values (N, 2) in these units."""


class Here(NamedTuple):
    """A file of weights, or the shipped ones without a file."""

    weights: Path | None

    def one(self, person: Mapping[str, Any]) -> Answer:
        """Compute it."""
        model = ServedModel.of(0, read_artifact(self.weights))
        body = json.dumps(person).encode()
        answer: Answer = json.loads(predict(model, body, with_explanation=False))
        return answer

    @contextmanager
    def opened(self, units: Units) -> Iterator[Callable[[Floats], Sequence[Answer]]]:
        """Compute them."""
        artifact = read_artifact(self.weights)
        yield lambda values: answers(artifact, units.to_offsets(values))


class There(NamedTuple):
    """A server."""

    server: str

    def one(self, person: Mapping[str, Any]) -> Answer:
        """Ask for it."""
        with connection.connection(self.server, only_predicts=True) as client:
            return client.predict(**person).model_dump()

    @contextmanager
    def opened(self, units: Units) -> Iterator[Callable[[Floats], Sequence[Answer]]]:
        """Ask for them; the version that answers first answers all."""
        version: int | None = None

        def ask(values: Floats) -> Sequence[Answer]:
            nonlocal version
            rows = values.tolist()
            people = [dict(zip(units.columns, row, strict=True)) for row in rows]
            found = client.predict_batch(people, model_version=version)
            version = found.model_version
            return [one.model_dump() for one in found.predictions]

        with connection.connection(self.server, only_predicts=True) as client:
            yield ask


def predict_person(
    source: Source, person: Mapping[str, float], *, as_json: bool
) -> None:
    """Show the answer for one person."""
    try:
        read_person(json.dumps(person).encode())
    except ValidationError as error:
        wrong_option(error)
    answer = source.one(person)
    show_person({name: answer[name] for name in CSV_COLUMNS}, as_json=as_json)


def predict_file(source: Source, path: Path) -> None:
    """Write the CSV again with an answer in each row."""
    table = read_table(path, labelled=False)
    with source.opened(table.units) as ask:
        write_rows(csv_lines(table, ask), len(table.values))
