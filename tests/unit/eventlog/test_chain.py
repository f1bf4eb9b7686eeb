"""The pure parts: headers, plans, trees of hashes."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import ConfigError
from greenroom.eventlog import Appended, BlobMissingError, ConflictError, SigningKey
from greenroom.eventlog._chain import EMPTY, GENESIS, Append, Encoded, Head, Place, digest_of, hash_of, plan
from greenroom.eventlog._checkpoints import tree_hash

pytestmark = pytest.mark.unit

S = ("", "session:AJ_a")
SALTS = bytes(range(256)) * 4


def encoded(payload: bytes = b"{}", *, key: str = "", at: int | None = None, blobs: tuple[str, ...] = ()) -> Encoded:
    return Encoded("test.said", 1, at, key, payload, blobs)


def test_a_header_is_what_the_page_says() -> None:
    # docs/event-log.md, "The chain": a change here makes every log there is unverifiable.
    header = (7, "acme", "session:AJ_a", 3, "test.said", 1, 1_000_001, 2_000_002, "k", b"\x11" * 32)
    assert hash_of(header, b"\x22" * 32).hex() == (
        sha256(
            b"greenroom.event.1"
            + (7).to_bytes(8, "big")
            + (3).to_bytes(8, "big")
            + (1_000_001).to_bytes(8, "big")
            + (2_000_002).to_bytes(8, "big")
            + (1).to_bytes(4, "big")
            + b"".join(length.to_bytes(2, "big") for length in (4, 12, 9, 1))
            + b"acme"
            + b"session:AJ_a"
            + b"test.said"
            + b"k"
            + b"\x11" * 32
            + b"\x22" * 32
        ).hexdigest()
    )


def test_a_plan_chains_each_event_to_the_one_before() -> None:
    planned = plan(
        [Append(*S, None, [encoded(b"1"), encoded(b"2")]), Append(*S, 3, [encoded(b"3")])],
        heads={S: Head(4, 1, b"\x01" * 32)},
        known={},
        position=9,
        now=5,
        salts=SALTS,
    )
    rows = planned.rows
    assert [(row.position, row.seq, row.previous) for row in rows] == [(10, 2, 4), (11, 3, 10), (12, 4, 11)]
    previous = b"\x01" * 32
    for row in rows:
        assert row.digest == digest_of(row.salt or b"", row.payload or b"")
        assert row.hash == hash_of(row[:10], previous)
        previous = row.hash
    assert len({row.salt for row in rows}) == 3
    assert planned.heads == {S: Head(12, 4, previous)}
    assert planned.outcomes == [
        Appended(first_seq=2, last_seq=3, last_position=11),
        Appended(first_seq=4, last_seq=4, last_position=12),
    ]


def test_a_plan_leaves_out_what_is_known_and_what_is_refused() -> None:
    planned = plan(
        [
            Append(*S, None, [encoded(key="old"), encoded(key="new"), encoded(key="new")]),
            Append(*S, 0, [encoded()]),
            Append(*S, None, [encoded(blobs=("lost",))]),
            Append(*S, 0, [encoded(key="old")]),
        ],
        heads={S: Head(3, 3, GENESIS)},
        known={("", "old"): Place(2, 2)},
        position=3,
        now=0,
        salts=SALTS,
        missing=lambda blob: blob == "lost",
    )
    assert [(row.position, row.key) for row in planned.rows] == [(4, "new")]
    first, conflict, missing, repeated = planned.outcomes
    assert first == Appended(first_seq=2, last_seq=4, last_position=4, duplicates=2)
    assert isinstance(conflict, ConflictError)
    assert isinstance(missing, BlobMissingError)
    assert repeated == Appended(first_seq=2, last_seq=2, last_position=2, duplicates=1)


def test_nothing_known_starts_from_nothing() -> None:
    planned = plan([Append(*S, 0, [encoded(at=-5)])], heads={}, known={}, position=0, now=1, salts=SALTS)
    assert (planned.rows[0].at, planned.rows[0].previous) == (-5, EMPTY.position)
    assert planned.rows[0].hash == hash_of(planned.rows[0][:10], GENESIS)


def reference(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as it is written."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + reference(leaves[:split]) + reference(leaves[split:])).digest()


@given(st.integers(0, 70))
def test_the_root_is_that_of_the_rfc(count: int) -> None:
    leaves = [sha256(b"\x00" + bytes([number])).digest() for number in range(count)]
    assert tree_hash(leaves) == reference(leaves)


def test_a_key_is_long_and_does_not_show_itself(tmp_path) -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        SigningKey(b"short")
    with pytest.raises(ConfigError, match="Cannot read"):
        SigningKey.read(tmp_path / "none")
    (tmp_path / "key").write_bytes(b"s3cret" * 8)
    assert "s3cret" not in repr(SigningKey.read(tmp_path / "key"))
