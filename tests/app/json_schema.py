"""As much of JSON Schema as the OpenAPI document uses, to check answers with."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_NUMBER: Final = (int, float)
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_IGNORED: Final = {
    *("title", "description", "default", "examples", "required", "format"),
    "contentMediaType",
}


def conforms(value: Any, schema: Schema, document: Schema) -> bool:
    """Whether a value is what a schema of the document says.

    Raises:
        KeyError: The schema uses a keyword that is not known here.
    """
    for keyword, argument in schema.items():
        if keyword in _IGNORED:
            continue
        kinds, check = _KEYWORDS[keyword]
        if isinstance(value, kinds) and not check(value, argument, schema, document):
            return False
    return True


def resolve(reference: str, document: Schema) -> Schema:
    """Return what a reference such as `#/components/schemas/Job` names."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def _has_type(value: Any, name: str, *_: Any) -> bool:
    is_number = name in {"integer", "number"}
    return isinstance(value, _TYPES[name]) and not (
        is_number and isinstance(value, bool)
    )


def _has_properties(
    value: Any, properties: Mapping[str, Schema], schema: Schema, document: Schema
) -> bool:
    return set(schema.get("required", ())) <= value.keys() and all(
        conforms(value[name], one, document)
        for name, one in properties.items()
        if name in value
    )


def _count_matches(value: Any, schemas: list[Schema], document: Schema) -> int:
    return sum(conforms(value, one, document) for one in schemas)


_KEYWORDS: Final[dict[str, tuple[Any, Callable[[Any, Any, Schema, Schema], bool]]]] = {
    "$ref": (
        object,
        lambda value, name, _, whole: conforms(value, resolve(name, whole), whole),
    ),
    "anyOf": (
        object,
        lambda value, those, _, whole: _count_matches(value, those, whole) > 0,
    ),
    "oneOf": (
        object,
        lambda value, those, _, whole: _count_matches(value, those, whole) == 1,
    ),
    "type": (object, _has_type),
    "enum": (object, lambda value, known, *_: value in known),
    "const": (object, lambda value, known, *_: value == known),
    "properties": (dict, _has_properties),
    "additionalProperties": (
        dict,
        lambda value, allowed, schema, _: (
            allowed is True or value.keys() <= schema.get("properties", {}).keys()
        ),
    ),
    "items": (
        list,
        lambda value, one, _, whole: all(conforms(item, one, whole) for item in value),
    ),
    "prefixItems": (
        list,
        lambda value, those, _, whole: all(
            conforms(item, one, whole) for item, one in zip(value, those, strict=True)
        ),
    ),
    "minItems": (list, lambda value, least, *_: len(value) >= least),
    "maxItems": (list, lambda value, most, *_: len(value) <= most),
    "maxLength": (str, lambda value, most, *_: len(value) <= most),
    "minimum": (_NUMBER, lambda value, least, *_: value >= least),
    "maximum": (_NUMBER, lambda value, most, *_: value <= most),
    "exclusiveMinimum": (_NUMBER, lambda value, below, *_: value > below),
    "exclusiveMaximum": (_NUMBER, lambda value, above, *_: value < above),
}
"""By keyword, the types that it speaks of, and the check."""
