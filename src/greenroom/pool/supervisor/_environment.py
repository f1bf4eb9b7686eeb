"""With which environment and command a nursery is started."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from greenroom.pool._settings import PoolSettings

_SHORT_SECRET: Final = 32
_LOCAL: Final = "localhost,127.0.0.1,::1"


def nursery_command(descriptor: int) -> list[str]:
    """Return what starts a nursery that talks over the inherited ``descriptor``."""
    # -P: what lies in the working directory must not be taken for a module of ours.
    return [sys.executable, "-P", "-m", "greenroom.pool.shard", "--socket", str(descriptor)]


def nursery_environment(base: Mapping[str, str], settings: PoolSettings, deployment: str) -> dict[str, str]:
    """Return the environment that the nursery, and whatever it forks, runs with. ``base`` is what it inherits."""
    environment = {
        **base,
        "LIVEKIT_URL": settings.url,
        "LIVEKIT_API_KEY": settings.key.key,
        "LIVEKIT_API_SECRET": settings.key.secret,
        "PYTHONUNBUFFERED": "1",
    }
    _bypass_proxies(environment)
    if len(settings.key.secret) < _SHORT_SECRET:
        # PyJWT warns of the development secret whenever a token is signed.
        given = environment.get("PYTHONWARNINGS")
        environment["PYTHONWARNINGS"] = ",".join(filter(None, (given, "ignore:The HMAC key is")))
    if settings.observability:
        environment.setdefault("LIVEKIT_OBSERVABILITY_URL", settings.observability)
    if deployment:
        environment["LIVEKIT_AGENT_DEPLOYMENT"] = deployment
    if settings.dev and _is_compiled():
        # Nothing is left beside the person's files.
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def _bypass_proxies(environment: dict[str, str]) -> None:
    # livekit-agents sends even a loopback connection through HTTPS_PROXY or HTTP_PROXY, and looks at the
    # upper-case names only. HTTP clients read both, and honour no_proxy.
    proxied = False
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        value = environment.pop(name, "")
        if value:
            proxied = True
            environment.setdefault(name.lower(), value)
    if proxied:
        bypass = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        environment["no_proxy"] = environment["NO_PROXY"] = ",".join(filter(None, (bypass, _LOCAL)))


def _is_compiled() -> bool:
    # The parent package is a namespace: to look at it imports nothing.
    try:
        spec = importlib.util.find_spec("livekit.agents")
    except ModuleNotFoundError:
        return False
    return bool(spec and spec.cached and Path(spec.cached).exists())
