"""A stream's chain to take away: everything its hashes are made of, so that anyone can compute them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from greenroom.eventlog._chain import GENESIS, Row, digest_of, hash_of


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One event as it is chained (``docs/event-log.md``). Times are microseconds since 1970, bytes hexadecimal.

    ``salt`` and ``payload`` are ``None`` once erased; the payload is JSON as it was written.
    """

    position: int
    tenant: str
    stream: str
    seq: int
    type: str
    version: int
    at: int
    recorded_at: int
    key: str
    salt: str | None
    payload: str | None
    digest: str
    hash: str


def links_of(rows: Iterable[Row]) -> list[Link]:
    """Return stored events as links."""
    return [
        Link(
            position=row.position,
            tenant=row.tenant,
            stream=row.stream,
            seq=row.seq,
            type=row.type,
            version=row.version,
            at=row.at,
            recorded_at=row.recorded_at,
            key=row.key,
            salt=None if row.salt is None else row.salt.hex(),
            payload=None if row.payload is None else row.payload.decode(),
            digest=row.digest.hex(),
            hash=row.hash.hex(),
        )
        for row in rows
    ]


def broken_link(links: Sequence[Link]) -> Link | None:
    """Return the first link of a stream's chain that does not follow from what it holds; ``None`` of a whole one."""
    previous = GENESIS
    for seq, link in enumerate(links, 1):
        digest = bytes.fromhex(link.digest)
        payload_fits = link.salt is None or link.payload is None
        if link.salt is not None and link.payload is not None:
            payload_fits = digest_of(bytes.fromhex(link.salt), link.payload.encode()) == digest
        header = (
            link.position,
            link.tenant,
            link.stream,
            link.seq,
            link.type,
            link.version,
            link.at,
            link.recorded_at,
            link.key,
            digest,
        )
        found = hash_of(header, previous)
        if not payload_fits or link.seq != seq or found.hex() != link.hash:
            return link
        previous = found
    return None
