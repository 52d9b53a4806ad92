"""What can be wrong with an artifact, each damage by its own name.

ArtifactError
|-- HashError         not the bytes that the hash of record promises
|-- StructureError    not safetensors, cut short, a name twice, too large
|-- TensorError       a tensor missing, unknown, of another type or shape
|-- NonFiniteError    a weight is NaN, infinite, or absurdly large
|-- MetadataError     no metadata, or not what this format writes
|-- FormatError       written by another version of the format
`-- GoldenError       the network does not answer as it did when it was saved
"""


class ArtifactError(Exception):
    """The bytes are not an intact artifact."""


class HashError(ArtifactError):
    """The bytes are not those that the hash of record promises."""


class StructureError(ArtifactError):
    """The bytes are not a well-formed safetensors file of a sensible size."""


class TensorError(ArtifactError):
    """A tensor is missing, unknown, or of another type or shape."""


class NonFiniteError(ArtifactError):
    """A weight is NaN, infinite, or beyond `MAX_WEIGHT`."""


class MetadataError(ArtifactError):
    """The metadata is missing or not what this format writes."""


class FormatError(ArtifactError):
    """The artifact was written by another version of the format."""


class GoldenError(ArtifactError):
    """The network does not answer as it did when it was saved."""
