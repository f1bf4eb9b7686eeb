"""Identifiers with LiveKit's prefixes.

LiveKit clients parse the prefix of a sid, and some abort on an unknown one, so
every identifier is minted here. Source: ``livekit-protocol``'s ``utils/guid``.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum
from typing import Final

# Base 57: digits and letters without those that are easily mistaken (0 O 1 I l).
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_LENGTH: Final = 12


class Prefix(StrEnum):
    """What an identifier names."""

    ROOM = "RM_"
    PARTICIPANT = "PA_"
    TRACK = "TR_"
    NODE = "ND_"
    WORKER = "AW_"
    JOB = "AJ_"
    DISPATCH = "AD_"
    DATA_TRACK = "DTR_"
    EVENT = "EV_"


def new_id(prefix: Prefix) -> str:
    """Mint a random identifier: the prefix and 12 base-57 characters (70 bits)."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))


def derived_id(prefix: Prefix, *parts: str) -> str:
    """Mint the identifier that always belongs to ``parts``, so that a retried request is idempotent."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()
    return prefix + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_LENGTH])
