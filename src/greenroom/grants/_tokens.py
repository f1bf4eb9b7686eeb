"""Minting and verifying tokens, and what an API key adds: its policy."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import _jws
from greenroom.grants._claims import Claims, parse_claims, parse_issuer

LEEWAY: Final = 60.0
DEFAULT_TTL: Final = 6 * 60 * 60.0
_BEARER: Final = "Bearer "


class Grant(msgspec.Struct, frozen=True):
    """A verified token and the API key that signed it."""

    claims: Claims
    key: ApiKey

    def allows_room(self, name: str) -> bool:
        """Whether the key's policy lets its tokens touch the room."""
        return _matches(self.key.rooms, name)

    def allows_agent(self, name: str) -> bool:
        """Whether the key's policy lets its tokens run, or ask for, the agent. ``""`` is the unnamed one."""
        return _matches(self.key.agents, name)


def verify(token: str, keys: Iterable[ApiKey] | Mapping[str, ApiKey], *, now: float | None = None) -> Grant:
    """Check a token's signature, times and claims.

    :param keys: the API keys that may have signed it.
    :param now: seconds since the epoch; the wall clock by default. Times get 60 s of leeway.
    :raises TokenError: with the sentence LiveKit would answer in a 401.
    """
    issuer = parse_issuer(_jws.read_unverified(token))
    key = _find(keys, issuer)
    if key is None:
        raise TokenError("invalid API key", fix="Sign the token with a key this server was started with")
    claims = parse_claims(_jws.read(token, key.secret))
    _check_times(claims, time.time() if now is None else now)
    return Grant(claims, key)


def mint(
    key: ApiKey,
    claims: Claims | None = None,
    *,
    ttl: float = DEFAULT_TTL,
    now: float | None = None,
    **fields: Any,
) -> str:
    """Return a token signed with ``key``.

    :param claims: what the token says; nothing by default.
    :param ttl: seconds it is valid for.
    :param now: seconds since the epoch; the wall clock by default.
    :param fields: fields of :class:`Claims` laid over ``claims``, such as ``identity`` or ``video``.
    """
    at = time.time() if now is None else now
    said = msgspec.structs.replace(
        claims or Claims(),
        **{**fields, "issuer": key.key, "not_before": int(at), "expires_at": int(at + ttl)},
    )
    return _jws.sign(said.encode(), key.secret)


def renew(token: str, key: ApiKey, *, ttl: float = DEFAULT_TTL, now: float | None = None) -> str:
    """Return a token that ``key`` signed, expired or not, valid for ``ttl`` seconds more and otherwise as it was.

    :raises TokenError: when the key did not sign it.
    """
    claims = msgspec.json.decode(_jws.read(token, key.secret), type=dict[str, Any])
    claims["exp"] = int((time.time() if now is None else now) + ttl)
    return _jws.sign(msgspec.json.encode(claims), key.secret)


def read_http_token(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Return the token of an HTTP request or WebSocket upgrade, ``None`` without one.

    ``Authorization`` wins over the query's ``access_token``.

    :param headers: header names are looked up in lower case.
    :raises TokenError: for an ``Authorization`` header of another scheme.
    """
    header = headers.get("authorization")
    if header:
        if not header.startswith(_BEARER):
            raise TokenError(f"invalid authorization header. Must start with {_BEARER}")
        return header.removeprefix(_BEARER)
    return query.get("access_token") or None


def _find(keys: Iterable[ApiKey] | Mapping[str, ApiKey], name: str) -> ApiKey | None:
    if isinstance(keys, Mapping):
        return keys.get(name)
    return next((key for key in keys if key.key == name), None)


def _check_times(claims: Claims, now: float) -> None:
    if claims.expires_at is None:
        raise TokenError("invalid authorization token: it has no expiry (exp)")
    if now > claims.expires_at + LEEWAY:
        raise TokenError("invalid authorization token: it has expired (exp)")
    if claims.not_before is not None and now < claims.not_before - LEEWAY:
        raise TokenError("invalid authorization token: it is not valid yet (nbf)")


def _matches(patterns: tuple[str, ...] | None, name: str) -> bool:
    return patterns is None or any(fnmatchcase(name, pattern) for pattern in patterns)
