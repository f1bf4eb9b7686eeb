"""Event types: declaring them, changing them, reading what an older or newer Greenroom wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.eventlog import BlobRef, EventTooLargeError, Raw, event, registered, upcast
from greenroom.eventlog._events import decode, encode, type_of

pytestmark = pytest.mark.unit


@event("test.moved", version=3)
class Moved(msgspec.Struct, frozen=True, kw_only=True):
    place: str
    metres: float
    why: str | None = None


@upcast("test.moved", 1)
def _in_metres(fields: dict[str, Any]) -> dict[str, Any]:
    return {"place": fields["place"], "metres": fields["feet"] * 0.3048}


@upcast("test.moved", 2)
def _with_a_reason(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"why": "unsaid"}


@event("test.holding")
class Holding(msgspec.Struct, frozen=True, kw_only=True):
    one: BlobRef | None = None
    many: tuple[BlobRef, ...] = ()
    named: dict[str, BlobRef] = {}
    hash: str = ""


def test_a_payload_of_the_current_version_comes_back() -> None:
    moved = Moved(place="hall", metres=2.5)
    assert decode("test.moved", 3, encode(type_of(moved), moved)) == moved


def test_an_old_payload_is_read_in_the_current_shape() -> None:
    assert decode("test.moved", 1, b'{"place": "hall", "feet": 10}') == Moved(place="hall", metres=3.048, why="unsaid")
    assert decode("test.moved", 2, b'{"place": "hall", "metres": 1}') == Moved(place="hall", metres=1, why="unsaid")


@pytest.mark.parametrize(
    ("name", "version", "payload"),
    [
        ("test.unheard_of", 1, b'{"a": 1}'),
        ("test.moved", 4, b'{"from": "the future"}'),
        ("test.moved", 3, b'{"place": 7}'),
        ("test.moved", 1, b'{"place": "hall"}'),
        ("test.moved", 0, b"{}"),
    ],
)
def test_what_has_no_shape_is_raw(name: str, version: int, payload: bytes) -> None:
    found = decode(name, version, payload)
    assert found == Raw(payload)
    assert found.json() == msgspec.json.decode(payload)


def test_fields_added_by_a_newer_program_are_passed_over() -> None:
    assert decode("test.moved", 3, b'{"place": "hall", "metres": 1, "new": true}') == Moved(place="hall", metres=1)


def test_blobs_are_found_wherever_a_field_holds_them() -> None:
    refs = [BlobRef(hash=digit * 64, size=1) for digit in "abcd"]
    held = Holding(one=refs[0], many=(refs[1], refs[2]), named={"x": refs[3]}, hash="e" * 64)
    assert type_of(held).blobs(held) == tuple(ref.hash for ref in refs)
    assert type_of(held).blobs(Holding()) == ()
    assert type_of(Moved(place="", metres=0)).blobs(Moved(place="", metres=0)) == ()


def test_a_name_belongs_to_one_struct() -> None:
    with pytest.raises(ValueError, match="already declared"):

        @event("test.moved")
        class Other(msgspec.Struct):
            pass

    assert [known.version for known in registered() if known.name == "test.moved"] == [3]


@pytest.mark.parametrize(("name", "version"), [("", 1), ("Upper.case", 1), ("a..b", 1), ("a b", 1), ("ok", 0)])
def test_a_malformed_declaration_is_refused(name: str, version: int) -> None:
    with pytest.raises(ValueError, match="no event type"):
        event(name, version=version)(type("Shape", (msgspec.Struct,), {}))


@pytest.mark.parametrize(("name", "version"), [("test.unheard_of", 1), ("test.moved", 3), ("test.moved", 0)])
def test_an_upcast_leads_to_a_version_there_is(name: str, version: int) -> None:
    with pytest.raises(ValueError, match="no version after"):
        upcast(name, version)(dict)


def test_a_large_payload_is_refused() -> None:
    with pytest.raises(EventTooLargeError):
        encode(type_of(Moved(place="", metres=0)), Moved(place="x" * 1_100_000, metres=0))
