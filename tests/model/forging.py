"""Damaged artifacts, made from an intact one."""

import json
import struct
from typing import Any

from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors


def assemble(header: str, tensors: bytes) -> bytes:
    """Return a safetensors file of this header and these tensors."""
    return struct.pack("<Q", len(header.encode())) + header.encode() + tensors


def header_of(content: bytes) -> str:
    """Return a safetensors file's header."""
    (size,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + size].decode()


def tensors_of(content: bytes) -> bytes:
    """Return the bytes below a safetensors file's header."""
    (size,) = struct.unpack("<Q", content[:8])
    return content[8 + size :]


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return our entry of a safetensors file's metadata."""
    entry = json.loads(header_of(content))["__metadata__"]["offsetnet"]
    metadata: dict[str, Any] = json.loads(entry)
    return metadata


def with_entry(content: bytes, text: str) -> bytes:
    """Return the file with this text for metadata."""
    header = json.loads(header_of(content)) | {"__metadata__": {"offsetnet": text}}
    return assemble(json.dumps(header), tensors_of(content))


def with_value(content: bytes, path: str, value: object) -> bytes:
    """Return the file with one value of the metadata changed, at a dotted path."""
    metadata = metadata_of(content)
    *parents, last = path.split(".")
    place = metadata
    for name in parents:
        place = place[name]
    place[last] = value
    return with_entry(content, json.dumps(metadata))


def with_tensors(content: bytes, changes: dict[str, Any]) -> bytes:
    """Return the file with other tensors; None takes one out."""
    tensors = {**load_tensors(content), **changes}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    metadata = json.loads(header_of(content))["__metadata__"]
    return save_tensors(kept, metadata=metadata)
