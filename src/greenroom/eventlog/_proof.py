"""A stream's chain to take away: everything its hashes are made of, so that anyone can compute them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from greenroom.eventlog._chain import GENESIS, Head, Row, digest_of, hash_of
from greenroom.eventlog._checkpoints import Checkpoint, SigningKey, audit_path, leaf_of, leaves_of, root_above
from greenroom.eventlog._checkpoints import hash_of as checkpoint_hash_of
from greenroom.eventlog._store import Reader


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


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """Where a checkpoint holds a stream: up to which event, and how that leads to the checkpoint's hash.

    :param path: hashes from the stream's end to the root, each after ``left`` or ``right``, where it stands.
    :param previous: hash of the checkpoint before.
    """

    seq: int
    path: tuple[tuple[str, str], ...]
    number: int
    position: int
    at: int
    streams: int
    root: str
    previous: str
    hash: str
    key_id: str
    signature: str


def anchor_of(reader: Reader, tenant: str, stream: str) -> Anchor | None:
    """Return the last checkpoint that holds a stream; ``None`` when none does yet."""
    checkpoints = reader.checkpoints()
    covered = checkpoints[-1].position if checkpoints else 0
    rows = [row for row in reader.stream(tenant, stream, 0, -1) if row.position <= covered]
    if not rows:
        return None
    last = rows[-1]
    index = next(index for index, found in enumerate(checkpoints) if found.position >= last.position)
    found = checkpoints[index]
    before = checkpoints[index - 1] if index else None
    heads = sorted(reader.ends_between(before.position if before else 0, found.position))
    place = [key for key, _ in heads].index((tenant, stream))
    return Anchor(
        seq=last.seq,
        path=tuple(
            ("left" if is_left else "right", hashed.hex()) for is_left, hashed in audit_path(leaves_of(heads), place)
        ),
        number=found.number,
        position=found.position,
        at=found.at,
        streams=found.streams,
        root=found.root.hex(),
        previous=(before.hash if before else GENESIS).hex(),
        hash=found.hash.hex(),
        key_id=found.key_id,
        signature=found.signature.hex(),
    )


def is_anchored(anchor: Anchor, links: Sequence[Link], *, key: SigningKey | None = None) -> bool:
    """Tell whether a checkpoint holds the chain ``links``; with ``key``, also whether that key signed it.

    The chain itself is checked by :func:`broken_link`.
    """
    if not 0 < anchor.seq <= len(links):
        return False
    end = links[anchor.seq - 1]
    leaf = leaf_of((end.tenant, end.stream), Head(end.position, end.seq, bytes.fromhex(end.hash)))
    path = [(side == "left", bytes.fromhex(hashed)) for side, hashed in anchor.path]
    checkpoint = Checkpoint(
        number=anchor.number,
        position=anchor.position,
        at=anchor.at,
        streams=anchor.streams,
        root=root_above(leaf, path),
        hash=bytes.fromhex(anchor.hash),
        key_id=anchor.key_id,
        signature=bytes.fromhex(anchor.signature),
    )
    if checkpoint_hash_of(checkpoint, bytes.fromhex(anchor.previous)) != checkpoint.hash:
        return False
    return key is None or (key.id == anchor.key_id and key.signed(checkpoint))


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
