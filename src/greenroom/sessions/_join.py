"""Joins of two accounts of one thing: commutative, associative and idempotent, so that order does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

_Value = TypeVar("_Value")
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def join(one: Any, other: Any) -> Any:
    """Return the account that says more: set before unset, the greater number, the longer text."""
    if one == other or other is None:
        return one
    if one is None:
        return other
    if isinstance(one, msgspec.Struct) and type(one) is type(other):
        return join_structs(one, other)
    if isinstance(one, bool | int | float) and isinstance(other, bool | int | float):
        return max(one, other)
    return max(one, other, key=_weight)


def join_structs(one: _Struct, other: _Struct) -> _Struct:
    """Join two structs field by field."""
    if one == other:
        return one
    fields = {name: join(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__}
    return msgspec.structs.replace(one, **fields)


def joined(known: Mapping[str, _Value], found: Mapping[str, _Value]) -> dict[str, _Value]:
    """Return the union of two dicts, joining what is in both."""
    result = dict(known)
    for key, value in found.items():
        result[key] = join(result[key], value) if key in result else value
    return result


def least(one: float | None, other: float | None) -> float | None:
    """Return the lesser of two numbers that may be unknown."""
    return one if other is None else other if one is None else min(one, other)


def greatest(one: float | None, other: float | None) -> float | None:
    """Return the greater of two numbers that may be unknown."""
    return one if other is None else other if one is None else max(one, other)


def _weight(value: Any) -> tuple[int, bytes]:
    encoded = msgspec.json.encode(value, order="deterministic")
    return len(encoded), encoded
