"""What the answers of the standard protocols look like, for their documentation."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from app.views import LabelledProbability

Name = Literal["offsetnet"]
Number = Annotated[str, Field(description="a version's number")]


class InferenceErrorBody(TypedDict):
    """What went wrong, as these protocols' clients read it."""

    error: str
    code: str
    request_id: str


class BinaryData(TypedDict):
    """How long a tensor's bytes are, where it is sent as bytes."""

    binary_data_size: int


class InferenceTensor(TypedDict):
    """An output: `data`, flat, or bytes behind the JSON as `parameters` says."""

    name: Literal["probability", "label"]
    datatype: Literal["FP64", "BYTES"]
    shape: list[int]
    data: NotRequired[list[float | str]]
    parameters: NotRequired[BinaryData]


class InferenceResponse(TypedDict):
    """The outputs that were asked for, in that order."""

    model_name: Name
    model_version: Number
    id: NotRequired[Annotated[str, Field(description="the request's, if it had one")]]
    outputs: list[InferenceTensor]


class InferenceServer(TypedDict):
    """The server."""

    name: Name
    version: str
    extensions: list[str]


class InferenceLive(TypedDict):
    """The event loop turns."""

    live: Literal[True]


class InferenceReady(TypedDict):
    """A verified version is loaded and the process goes on."""

    ready: Literal[True]
    live: Literal[True]


class InferenceModelReady(TypedDict):
    """The model answers."""

    name: Name
    ready: Literal[True]


class InferenceModels(TypedDict):
    """The one model."""

    models: list[Name]


class TensorMetadata(TypedDict):
    """A tensor; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelProperties(TypedDict):
    """The order of the input's columns, and the weights by their hash."""

    columns: str
    weights_sha256: str


class InferenceModel(TypedDict):
    """The model's tensors and versions."""

    name: Name
    versions: list[Number]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    properties: ModelProperties


class TensorConfiguration(TypedDict):
    """A tensor in Triton's words."""

    name: str
    data_type: str
    dims: list[int]


class InferenceConfiguration(TypedDict):
    """The model's configuration in Triton's words."""

    name: Name
    platform: str
    max_batch_size: int
    input: list[TensorConfiguration]
    output: list[TensorConfiguration]


class Duration(TypedDict):
    """How often something was done, and how long it took together."""

    count: int
    ns: int


class InferenceDurations(TypedDict):
    """The parts of inferring; what is not done here is 0."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class VersionStatistics(TypedDict):
    """One version's inferences by this protocol, in one process."""

    name: Name
    version: Number
    last_inference: Annotated[int, Field(description="in ms since 1970")]
    inference_count: Annotated[int, Field(description="people")]
    execution_count: Annotated[int, Field(description="requests")]
    inference_stats: InferenceDurations
    batch_stats: list[Any]
    memory_usage: list[Any]


class InferenceStatisticsList(TypedDict):
    """Each version that answered lately."""

    model_stats: list[VersionStatistics]


class IndexedVersion(TypedDict):
    """A stored version."""

    name: Name
    version: Number
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class NothingMore(TypedDict):
    """Nothing but that it was done."""


class V1Response(TypedDict):
    """The answers, in the order of the people."""

    predictions: list[LabelledProbability]
