"""``greenroom login``: a one-time address for a browser, or a token for a program."""

from __future__ import annotations

import getpass
import time
from typing import Final
from urllib.parse import urlencode

import msgspec

from greenroom.cli._options import CallOptions
from greenroom.cli._settings import call_target, parse_duration
from greenroom.errors import ConfigError
from greenroom.grants import LOGIN_TTL, mint_operator
from greenroom.operations import SCOPES

_FOR_PROGRAMS: Final = "30d"


def login_command(
    options: CallOptions, *, role: str, name: str | None, token: bool, ttl: str | None, as_json: bool
) -> int:
    """Print the address, or the token. Raises :class:`GreenroomError`."""
    if role not in SCOPES:
        raise ConfigError(f"--role '{role}' is unknown", fix=f"It is one of {', '.join(SCOPES)}")
    target = call_target(options)
    who = name or _user()
    seconds = parse_duration(ttl or _FOR_PROGRAMS) if token else LOGIN_TTL
    if ttl and not token:
        raise ConfigError("--ttl is for tokens; the address is good for five minutes", fix="Add --token")
    now = time.time()
    made = mint_operator(target.key, role, name=who, purpose="api" if token else "login", ttl=seconds, now=now)
    base = target.url.replace("ws", "http", 1)
    printed = made if token else f"{base}/login?{urlencode({'ticket': made})}"
    if as_json:
        found = {"token" if token else "url": printed, "name": who, "role": role, "expires_at": int(now + seconds)}
        printed = msgspec.json.encode(found).decode()
    print(printed)
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"
