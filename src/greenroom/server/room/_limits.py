"""Lengths that names, metadata and attributes may have (LiveKit: 256 characters, 512 KiB, 64 KiB)."""

from __future__ import annotations

from collections.abc import Mapping

from greenroom.config import Limits
from greenroom.server.room._errors import LimitError, RoomError


def check_room_name(name: str, limits: Limits) -> None:
    """Raise :class:`RoomError` for an empty room name and :class:`LimitError` for a long one."""
    if not name:
        raise RoomError("no room name", fix="Name the room")
    if len(name) > limits.name:
        raise LimitError("room name", limit=limits.name, unit="characters")


def check_name(name: str, limits: Limits) -> None:
    """Raise :class:`LimitError` for a participant name that is too long."""
    if len(name) > limits.name:
        raise LimitError("participant name", limit=limits.name, unit="characters")


def check_metadata(metadata: str, limits: Limits) -> None:
    """Raise :class:`LimitError` for metadata that is too long."""
    # The limit is in bytes; most metadata is so far below it that encoding it to count would be waste.
    if len(metadata) * 4 > limits.metadata and len(metadata.encode()) > limits.metadata:
        raise LimitError("metadata", limit=limits.metadata, unit="bytes")


def check_attributes(attributes: Mapping[str, str], limits: Limits) -> None:
    """Raise :class:`LimitError` when keys and values together are too long."""
    if sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items()) > limits.attributes:
        raise LimitError("attributes", limit=limits.attributes, unit="bytes")


def merge_attributes(current: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Lay ``changes`` over ``current``; an empty value deletes its key."""
    merged = {**current, **changes}
    for key, value in changes.items():
        if not value:
            merged.pop(key, None)
    return merged
