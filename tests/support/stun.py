"""STUN binding requests as an attacker would write them (RFC 8489, RFC 8445 section 7.1)."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import zlib

_COOKIE = 0x2112A442
_USERNAME, _INTEGRITY, _PRIORITY, _USE_CANDIDATE, _CONTROLLING, _FINGERPRINT = 0x06, 0x08, 0x24, 0x25, 0x802A, 0x8028
BINDING_SUCCESS = 0x0101


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + b"\x00" * (-len(value) % 4)


def binding_request(username: str, password: str) -> bytes:
    """Return a nominating ICE check. With the right ``password`` the engine answers and learns the sender's address."""
    transaction = os.urandom(12)
    body = _attribute(_USERNAME, username.encode())
    body += _attribute(_PRIORITY, struct.pack("!I", 1_853_824_767))
    body += _attribute(_CONTROLLING, os.urandom(8))
    body += _attribute(_USE_CANDIDATE, b"")
    mac = hmac.new(password.encode(), _header(len(body) + 24, transaction) + body, hashlib.sha1).digest()
    body += _attribute(_INTEGRITY, mac)
    crc = zlib.crc32(_header(len(body) + 8, transaction) + body) ^ 0x5354554E
    body += _attribute(_FINGERPRINT, struct.pack("!I", crc))
    return _header(len(body), transaction) + body


def _header(length: int, transaction: bytes) -> bytes:
    return struct.pack("!HHI", 0x0001, length, _COOKIE) + transaction


def is_success(packet: bytes) -> bool:
    """Tell whether ``packet`` is a binding success response."""
    return len(packet) >= 20 and struct.unpack("!H", packet[:2])[0] == BINDING_SUCCESS
