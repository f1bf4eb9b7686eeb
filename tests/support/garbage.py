"""Hostile input: seeded, so that a failure repeats."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_STRINGS = ("", "x", "\x00", "../../etc/passwd", "é́😀\u202e", "a" * 5_000, "PA_", "TR_AMunknown", "{}", "%s%n")
_NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 7, 65_535)
_UNSIGNED = (0, 1, 2**31, 2**32 - 1)
_JSON = (
    "",
    "{",
    "null",
    "[]",
    "[" * 5_000,
    '{"a":' * 3_000,
    '{"offer":{"sdp":7}}',
    '{"trickle":{"candidateInit":"{}","target":"NOWHERE"}}',
    '{"nothing":{"like":"this"}}',
    '{"pingReq":{"timestamp":"99999999999999999999999999"}}',
    '{"leave":[]}',
    "\ud7ff" * 1_000,
    json.dumps({"simulate": {"speakerUpdate": "NaN"}}),
)


def noise(rng: random.Random, most: int = 2_000) -> bytes:
    """Return random bytes of a random size."""
    return rng.randbytes(rng.randrange(most))


def truncated(rng: random.Random, whole: bytes) -> bytes:
    """Return a part of the beginning."""
    return whole[: rng.randrange(len(whole) or 1)]


def mutated(rng: random.Random, whole: bytes) -> bytes:
    """Return ``whole`` with a few bytes changed."""
    spoilt = bytearray(whole or b"\x00")
    for _ in range(rng.randint(1, 8)):
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    return bytes(spoilt)


def text(rng: random.Random) -> str:
    """Return something that is almost a message in JSON."""
    return rng.choice(_JSON)


def invented(rng: random.Random, kind: type[Message], depth: int = 3) -> Message:
    """Return a well-formed message that nobody would send: random fields, extreme values."""
    message = kind()
    _fill(rng, message, depth)
    return message


def _fill(rng: random.Random, message: Message, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    for field in rng.sample(fields, min(len(fields), rng.randint(1, 6))):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            if depth:
                inner = getattr(message, field.name)
                _fill(rng, inner.add() if field.is_repeated else inner, depth - 1)
                if not field.is_repeated:
                    inner.SetInParent()
            continue
        value = _scalar(rng, field)
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def _scalar(rng: random.Random, field: FieldDescriptor) -> object:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        value = rng.choice(_STRINGS)
        return value.encode() if field.type == FieldDescriptor.TYPE_BYTES else value
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}:
        return rng.choice(_UNSIGNED)
    if kind in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        # Enums of proto3 are open: a number that nobody has defined is well-formed.
        return rng.choice([*(value.number for value in field.enum_type.values), 4_711])
    return rng.choice(_NUMBERS)


def frames(rng: random.Random, kind: type[Message], count: int) -> Iterator[bytes | str]:
    """Yield ``count`` frames for a socket that speaks ``kind``: noise, torn, spoilt, absurd, wrongly encoded."""
    for _ in range(count):
        whole = invented(rng, kind).SerializeToString()
        yield rng.choice(
            (
                lambda: noise(rng),
                lambda whole=whole: truncated(rng, whole),
                lambda whole=whole: mutated(rng, whole),
                lambda whole=whole: whole,
                lambda: text(rng),
            )
        )()
