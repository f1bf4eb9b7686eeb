"""Checkpoints: what joins the ends of all streams, so that no stream can lose its end unnoticed.

A checkpoint covers the streams that have grown since the one before it. Its root is the Merkle tree hash (RFC 6962,
section 2.1, SHA-256) over their ends in order of tenant and stream; its own hash binds number, position, time, count,
root and the hash of the checkpoint before it. ``docs/event-log.md``.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from greenroom.errors import ConfigError
from greenroom.eventlog._chain import GENESIS, Head, StreamKey

_MAGIC: Final = b"greenroom.checkpoint.1"
_FIXED: Final = struct.Struct(">QQqQ")
_LEAF: Final = struct.Struct(">HHQ")
_LEAST_KEY: Final = 32


class Checkpoint(NamedTuple):
    """A checkpoint as stores keep it.

    :param position: of the last event it covers.
    :param at: microseconds since 1970.
    :param streams: how many streams have grown since the checkpoint before.
    :param key_id: of the key it is signed with; empty, as the signature is, without one.
    """

    number: int
    position: int
    at: int
    streams: int
    root: bytes
    hash: bytes
    key_id: str
    signature: bytes


class SigningKey:
    """A secret kept outside the database. Whoever has it can tell a log that has been rewritten.

    Signatures are HMAC-SHA256, so who verifies holds the secret, too.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _LEAST_KEY:
            raise ConfigError(
                f"A key for checkpoints has at least {_LEAST_KEY} bytes",
                fix="Make one with: head -c 32 /dev/urandom > log.key; chmod 600 log.key",
            )
        self._secret = secret
        self.id = sha256(b"greenroom.checkpoint.key" + secret).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"SigningKey(id={self.id!r})"

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read the key from a file: all its bytes. Raises :class:`ConfigError`."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"Cannot read the key {path}: {error.strerror}", fix="Name a readable file") from None

    def sign(self, hashed: bytes) -> bytes:
        """Return the signature of a checkpoint's hash."""
        return hmac.digest(self._secret, hashed, "sha256")

    def signed(self, checkpoint: Checkpoint) -> bool:
        """Tell whether this key signed a checkpoint."""
        return hmac.compare_digest(self.sign(checkpoint.hash), checkpoint.signature)


def make(
    previous: Checkpoint | None,
    heads: Iterable[tuple[StreamKey, Head]],
    *,
    position: int,
    now: int,
    key: SigningKey | None,
) -> Checkpoint:
    """Return the checkpoint after ``previous`` over the streams that have grown since."""
    leaves = leaves_of(heads)
    number = 1 if previous is None else previous.number + 1
    root = tree_hash(leaves)
    bare = Checkpoint(number, position, now, len(leaves), root, b"", key.id if key else "", b"")
    hashed = hash_of(bare, GENESIS if previous is None else previous.hash)
    return bare._replace(hash=hashed, signature=key.sign(hashed) if key else b"")


def hash_of(checkpoint: Checkpoint, previous: bytes) -> bytes:
    """Return the hash a checkpoint should have."""
    fixed = _FIXED.pack(checkpoint.number, checkpoint.position, checkpoint.at, checkpoint.streams)
    return sha256(b"".join((_MAGIC, fixed, checkpoint.key_id.encode(), checkpoint.root, previous))).digest()


def leaves_of(heads: Iterable[tuple[StreamKey, Head]]) -> list[bytes]:
    """Return the hashes of stream ends, in the order of a tree."""
    return [leaf_of(stream, head) for stream, head in sorted(heads)]


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes (RFC 6962, section 2.1)."""
    if not leaves:
        return sha256().digest()
    level: Sequence[bytes] = leaves
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def audit_path(leaves: Sequence[bytes], index: int) -> list[tuple[bool, bytes]]:
    """Return the hashes that lead from a leaf to the root, from below: whether each stands left, and itself."""
    path = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append((sibling < index, level[sibling]))
        level = _parents(level)
        index //= 2
    return path


def root_above(leaf: bytes, path: Iterable[tuple[bool, bytes]]) -> bytes:
    """Return the root that an audit path leads to from a leaf."""
    for is_left, sibling in path:
        leaf = _node(sibling, leaf) if is_left else _node(leaf, sibling)
    return leaf


def _parents(level: Sequence[bytes]) -> list[bytes]:
    # Pairing from the left and carrying an odd last one up unchanged yields the tree of the RFC.
    paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return [*paired, *level[len(paired) * 2 :]]


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def leaf_of(stream: StreamKey, head: Head) -> bytes:
    """Return the hash of a stream's end, as it stands in the tree."""
    tenant, name = stream[0].encode(), stream[1].encode()
    fixed = _LEAF.pack(len(tenant), len(name), head.seq)
    return sha256(b"".join((b"\x00", fixed, tenant, name, head.hash))).digest()
