"""The settings of a training, as a request changes them.

Each says what it does, its range and its defaults; the command line's help and the
OpenAPI document show the same words.
"""

import json
from dataclasses import fields, replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from model import ARTICLE_CONFIG, TrainingConfig

STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True)


def _setting(name: str, what: str, **bounds: Any) -> Any:
    """Describe a training setting that keeps its default unless given."""
    article, data = getattr(ARTICLE_CONFIG, name), getattr(TrainingConfig(), name)
    text = f"{what}; default {json.dumps(data)}"
    if article != data:
        text += f" ({json.dumps(article)} for the article's people)"
    return Field(default=None, description=text, **bounds)


Patience = Annotated[int, Field(ge=1, le=10_000)] | None
PATIENCE: Any = _setting(
    "patience",
    "epochs without a better holdout loss after which it stops, 1 to 10000, or null "
    "for never",
)


class ConfigChanges(BaseModel):
    """Training settings that differ from the defaults."""

    model_config = STRICT

    hidden_units: int = _setting(
        "hidden_units", "hidden sigmoid units, 1 to 64", ge=1, le=64
    )
    loss: Literal["mse", "bce"] = _setting(
        "loss", "what is minimised: mse (squared error) or bce (cross-entropy)"
    )
    learning_rate: float = _setting(
        "learning_rate",
        "size of a step, above 0, to 1",
        gt=0,
        le=1,
        allow_inf_nan=False,
    )
    momentum: float = _setting(
        "momentum",
        "share of the last step in the next one, 0 to below 1",
        ge=0,
        lt=1,
        allow_inf_nan=False,
    )
    batch_size: int = _setting(
        "batch_size", "people in a step, 1 to 1000000", ge=1, le=1_000_000
    )
    epochs: int = _setting(
        "epochs", "passes over the people at most, 1 to 10000", ge=1, le=10_000
    )
    patience: Patience = PATIENCE
    standardize: bool = _setting(
        "standardize", "scale the inputs to mean 0 and deviation 1, true or false"
    )
    shuffle: bool = _setting(
        "shuffle", "give each epoch an order of its own, true or false"
    )
    holdout: float = _setting(
        "holdout",
        "share of the people held out to measure on, 0 to 0.5; below 20 rows nobody is",
        ge=0,
        le=0.5,
        allow_inf_nan=False,
    )
    seed: int = _setting(
        "seed",
        "draws the first weights, the order and the holdout, 0 to 4294967295",
        ge=0,
        le=2**32 - 1,
    )

    def apply_to(self, config: TrainingConfig) -> TrainingConfig:
        """Return the configuration with what was given in place of its own."""
        names = {field.name for field in fields(config)} & self.model_fields_set
        return replace(config, **{name: getattr(self, name) for name in names})
