"""The three shapes in which people are written, told apart by their keys."""

import re
from functools import cached_property
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from app.schemas import (
    Batch,
    ImperialExample,
    ImperialPerson,
    MetricExample,
    MetricPerson,
    OffsetExample,
    OffsetPerson,
    TrainRequest,
)
from model import IMPERIAL, METRIC, OFFSETS, Units


class Shape:
    """One of the three ways to write people, with a reader for each request.

    A reader is made when it is first used: a start need not wait for nine of them.
    """

    def __init__(self, units: Units, person: Any, example: Any) -> None:
        """Take what a person is, and what one with a label is."""
        self.units, self._person, self._example = units, person, example

    @cached_property
    def person(self) -> TypeAdapter[Any]:
        """What reads one person."""
        return TypeAdapter(self._person)

    @cached_property
    def batch(self) -> TypeAdapter[Any]:
        """What reads several."""
        return TypeAdapter(Batch[self._person])  # type: ignore[name-defined] # a value

    @cached_property
    def train(self) -> TypeAdapter[Any]:
        """What reads a training request."""
        return TypeAdapter(TrainRequest[self._example])  # type: ignore[name-defined] # the same


SHAPES: Final = (
    Shape(OFFSETS, OffsetPerson, OffsetExample),
    Shape(IMPERIAL, ImperialPerson, ImperialExample),
    Shape(METRIC, MetricPerson, MetricExample),
)

_KEY: Final = re.compile(rb'"(?:weight|height)_(offset|lb|in|kg|cm)"\s*:')
_BY_SUFFIX: Final = {
    column.partition("_")[2].encode(): shape
    for shape in SHAPES
    for column in shape.units.columns
}
_read_offsets: Final = SHAPES[0].person.validator.validate_json


def read_person(body: bytes) -> tuple[float, float]:
    """Return one person's offsets in lb and in, whatever the shape.

    Raises:
        ValidationError: The body is not JSON or not a person.
    """
    if b'"weight_offset"' in body:  # mostly; the rest costs as much as reading does
        try:
            person = _read_offsets(body)
            return person["weight_offset"] + 0.0, person["height_offset"] + 0.0  # no -0
        except ValidationError:
            if shape_of(body) is SHAPES[0]:
                raise
    shape = shape_of(body)
    return shape.units.offsets_of(shape.person.validator.validate_json(body))


def shape_of(body: bytes) -> Shape:
    """Return the shape of the first person in the body, by the first key of any.

    Whatever else stands there is for that shape's reader to refuse.
    """
    found = _KEY.search(body)
    return _BY_SUFFIX[found[1]] if found else SHAPES[0]
