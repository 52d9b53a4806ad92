"""The mathematics: network, training, data, evaluation, artifact.

This is the package's whole surface; `app` imports from here alone.
"""

from model.artifact import (
    MAX_ARTIFACT_BYTES,
    SHIPPED_SHA256,
    Artifact,
    load,
    load_shipped,
    save,
)
from model.artifact_errors import ArtifactError
from model.csv_columns import CsvEncodingError, CsvError, RowError
from model.csv_reader import CsvReader, Table
from model.data import (
    ALL_UNITS,
    ARTICLE_PEOPLE,
    IMPERIAL,
    LABELS,
    METRIC,
    MIN_ROWS_TO_SPLIT,
    OFFSETS,
    Dataset,
    Units,
)
from model.evaluation import LABEL_THRESHOLD, Metrics, evaluate, explain
from model.network import Floats, Params
from model.prediction import one_predictor, predict_proba
from model.sample import sample_csv
from model.training import ARTICLE_CONFIG, DivergedError, Epoch, TrainingConfig, train

__all__ = [
    "ALL_UNITS",
    "ARTICLE_CONFIG",
    "ARTICLE_PEOPLE",
    "IMPERIAL",
    "LABELS",
    "LABEL_THRESHOLD",
    "MAX_ARTIFACT_BYTES",
    "METRIC",
    "MIN_ROWS_TO_SPLIT",
    "OFFSETS",
    "SHIPPED_SHA256",
    "Artifact",
    "ArtifactError",
    "CsvEncodingError",
    "CsvError",
    "CsvReader",
    "Dataset",
    "DivergedError",
    "Epoch",
    "Floats",
    "Metrics",
    "Params",
    "RowError",
    "Table",
    "TrainingConfig",
    "Units",
    "evaluate",
    "explain",
    "load",
    "load_shipped",
    "one_predictor",
    "predict_proba",
    "sample_csv",
    "save",
    "train",
]
