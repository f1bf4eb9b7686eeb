"""Who may use Greenroom's own API: tokens for people and programs, signed with an API key like LiveKit's."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from greenroom.config import ApiKey
from greenroom.errors import TokenError
from greenroom.grants import _jws
from greenroom.grants._tokens import LEEWAY
from greenroom.operations import SCOPES, Scope

Purpose: TypeAlias = Literal["login", "session", "api"]

LOGIN_TTL: Final = 300.0
SESSION_TTL: Final = 12 * 3600.0


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who uses the control plane, and what they may do there.

    :param name: who it is, for the audit.
    :param id: of the token; a login is good for one use.
    """

    name: str
    role: Scope
    id: str = ""
    expires_at: float | None = None


class _Said(msgspec.Struct, kw_only=True):
    role: Scope
    purpose: Purpose


class _Token(msgspec.Struct, kw_only=True):
    """The claims; ``greenroom`` is what no LiveKit token has."""

    iss: str
    sub: str
    jti: str
    nbf: int
    exp: int
    greenroom: _Said


def mint_operator(
    key: ApiKey,
    role: Scope,
    *,
    name: str,
    purpose: Purpose,
    ttl: float,
    now: float | None = None,
) -> str:
    """Return a token for the control plane.

    :param purpose: ``login`` opens a session in a browser, once; ``session`` is what its cookie holds; ``api`` is a
        program's bearer token.
    :raises TokenError: for a key that is limited to some agents or rooms: operators see all of them.
    """
    _check_key(key)
    at = time.time() if now is None else now
    said = _Token(
        iss=key.key,
        sub=name,
        jti=secrets.token_urlsafe(12),
        nbf=int(at),
        exp=int(at + ttl),
        greenroom=_Said(role=role, purpose=purpose),
    )
    return _jws.sign(msgspec.json.encode(said), key.secret)


def verify_operator(token: str, keys: Iterable[ApiKey], purpose: Purpose, *, now: float | None = None) -> Operator:
    """Return whose token it is. Raises :class:`TokenError`."""
    said = _parse(_jws.read_unverified(token))
    key = next((key for key in keys if key.key == said.iss), None)
    if key is None:
        raise TokenError("The token is signed with a key that this server does not have")
    _check_key(key)
    said = _parse(_jws.read(token, key.secret))
    if said.greenroom.purpose != purpose:
        raise TokenError(f"The token is for '{said.greenroom.purpose}', not for this")
    at = time.time() if now is None else now
    # The machine that minted it may have another clock; its lifetime is nobody's to stretch.
    if at > said.exp:
        raise TokenError("The token has expired", fix="Run greenroom login again")
    if at < said.nbf - LEEWAY:
        raise TokenError("The token is not valid yet", fix="Compare the clocks of the two machines")
    return Operator(name=said.sub, role=said.greenroom.role, id=said.jti, expires_at=float(said.exp))


def roles() -> Mapping[Scope, str]:
    """Return the roles, and what each may do."""
    return dict(zip(SCOPES, ("look at everything", "also act on live calls", "also change and erase"), strict=True))


def _check_key(key: ApiKey) -> None:
    if key.agents is not None or key.rooms is not None:
        raise TokenError(
            f"API key '{key.key}' is limited to some agents or rooms; operators see all of them",
            fix="Use a key without limits",
        )


def _parse(payload: bytes) -> _Token:
    try:
        return msgspec.json.decode(payload, type=_Token)
    except msgspec.MsgspecError:
        raise TokenError("This is no token for Greenroom's API", fix="Make one with: greenroom login") from None
