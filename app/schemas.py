"""The schemas of requests: what their bytes may be.

Numbers are strict: no strings, booleans, NaN or infinity. Unknown keys are refused;
of a key that stands twice the last wins.
"""

import re
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    with_config,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from app.job_words import Promote
from app.training_settings import PATIENCE, STRICT, ConfigChanges, Patience
from model import IMPERIAL, METRIC, OFFSETS, Units

MAX_INTEGER: Final = 2**31 - 1
MAX_INSTANCES: Final = 1_000
MAX_ROWS: Final = 1_000_000  # of a CSV to train on
MAX_EXAMPLES: Final = 6_500  # more do not fit into the bytes that JSON may have


def _number(units: Units, index: int, description: str) -> Any:
    lowest, highest = units.limits[index]
    bounds = {"ge": lowest} if lowest < 0 else {"gt": 0}
    return Field(**bounds, le=highest, allow_inf_nan=False, description=description)


WeightOffset = Annotated[float, _number(OFFSETS, 0, "weight in lb, less 135")]
HeightOffset = Annotated[float, _number(OFFSETS, 1, "height in inches, less 66")]
WeightLb = Annotated[float, _number(IMPERIAL, 0, "weight in lb")]
HeightIn = Annotated[float, _number(IMPERIAL, 1, "height in inches")]
WeightKg = Annotated[float, _number(METRIC, 0, "weight in kg")]
HeightCm = Annotated[float, _number(METRIC, 1, "height in cm")]
Label = Literal["F", "M"]


@with_config(STRICT)
class OffsetPerson(TypedDict):
    """A person as offsets, the network's own form."""

    weight_offset: WeightOffset
    height_offset: HeightOffset


@with_config(STRICT)
class ImperialPerson(TypedDict):
    """A person in pounds and inches."""

    weight_lb: WeightLb
    height_in: HeightIn


@with_config(STRICT)
class MetricPerson(TypedDict):
    """A person in kilograms and centimetres."""

    weight_kg: WeightKg
    height_cm: HeightCm


class OffsetExample(OffsetPerson):
    """A labelled person as offsets."""

    label: Label


class ImperialExample(ImperialPerson):
    """A labelled person in pounds and inches."""

    label: Label


class MetricExample(MetricPerson):
    """A labelled person in kilograms and centimetres."""

    label: Label


PersonT = TypeVar("PersonT")
ExampleT = TypeVar("ExampleT")


@with_config(STRICT)
class Batch(TypedDict, Generic[PersonT]):
    """Several people, all written like the first."""

    instances: Annotated[list[PersonT], Field(min_length=1, max_length=MAX_INSTANCES)]


def _null(value: object) -> object:
    """Let a query parameter say null."""
    return None if value == "null" else value


def plain_number(text: str) -> str:
    """Read what is not a plain number, as ids and versions are, as 0: none has it."""
    return text if re.fullmatch("[0-9]{1,9}", text) else "0"


def _printable(note: str) -> str:
    if not note.isprintable():
        raise PydanticCustomError("printable", "Only printable characters may be used")
    return note


Promotion = Annotated[
    Promote,
    Field(
        description="whether the new version shall serve: if_better (it is about as "
        "good as the active one, or better), always or never; default if_better"
    ),
]
Note = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
_EXAMPLES: Any = Field(default=None, min_length=2, max_length=MAX_EXAMPLES)
_NOTE: Any = Field(
    default=None, description="kept with the version; 200 printable characters"
)


class TrainRequest(BaseModel, Generic[ExampleT]):
    """What to train on and how; without examples, the article's four people."""

    model_config = STRICT

    examples: list[ExampleT] = _EXAMPLES
    config: ConfigChanges = ConfigChanges()
    promote: Promotion = "if_better"
    note: Note | None = _NOTE


class DryRunQuery(BaseModel):
    """Whether to check only."""

    model_config = STRICT

    dry_run: bool = Field(
        default=False, description="check and measure only, without any job"
    )


class TrainQuery(ConfigChanges, DryRunQuery):
    """How to train on the people of a CSV, as query parameters."""

    patience: Annotated[Patience, BeforeValidator(_null)] = PATIENCE
    promote: Promotion = "if_better"
    note: Note | None = _NOTE


class Activation(BaseModel):
    """Which version shall serve."""

    model_config = STRICT

    version: int = Field(ge=1, le=MAX_INTEGER)


class PinQuery(BaseModel):
    """Which version shall answer; other parameters are ignored."""

    model_config = ConfigDict(frozen=True)

    model_version: Annotated[
        int | None, BeforeValidator(plain_number), WithJsonSchema({"type": "integer"})
    ] = Field(default=None, description="answer with this version, not the active one")


class PredictQuery(PinQuery):
    """What one person's prediction may ask for beside."""

    explain: bool = Field(default=False, description="add the exact Shapley values")
