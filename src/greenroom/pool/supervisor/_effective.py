"""What holds once the code has been loaded: settings go before what the code says, that before the default. Pure."""

from __future__ import annotations

import msgspec

from greenroom.pool._model import CodeOptions, Manifest
from greenroom.pool._settings import DEFAULT_DRAIN_TIMEOUT, DEFAULT_HTTP_PORT, BreakerSettings, PoolSettings
from greenroom.pool.admission import Caps, caps_of
from greenroom.pool.supervisor._cast import Cast

_MEBIBYTE = 1024 * 1024


def caps(settings: PoolSettings, cast: Cast) -> Caps:
    """Return how many calls there may be."""
    return caps_of(settings, Manifest(agents=cast.agents, options=cast.options))


def port(settings: PoolSettings, options: CodeOptions) -> int:
    """Return the HTTP port. In development nobody needs to know it beforehand."""
    if settings.port is not None:
        return settings.port
    if options.port is not None:
        return options.port
    return 0 if settings.dev else DEFAULT_HTTP_PORT


def drain_timeout(settings: PoolSettings, options: CodeOptions) -> float:
    """Return how long a drain may take, in seconds."""
    return settings.drain_timeout or options.drain_timeout or DEFAULT_DRAIN_TIMEOUT


def deployment(settings: PoolSettings, options: CodeOptions) -> str:
    """Return the version that users of the code see."""
    return (options.deployment or "") if settings.deployment is None else settings.deployment


def breaker(settings: PoolSettings, options: CodeOptions) -> BreakerSettings:
    """Return when a provider of a tenant counts as broken."""
    if settings.breaker is not None:
        return settings.breaker
    said = {
        "enabled": options.breaker,
        "cooldown": options.breaker_cooldown,
    }
    known = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(BreakerSettings(), **known)


def memory(settings: PoolSettings, options: CodeOptions) -> tuple[float, float]:
    """Return how many bytes of a shard are worth a warning, and how many are too many; 0 is never."""
    warn = options.memory_warn_mb if settings.memory_warn_mb is None else settings.memory_warn_mb
    limit = options.memory_limit_mb if settings.memory_limit_mb is None else settings.memory_limit_mb
    return (warn or 0.0) * _MEBIBYTE, (limit or 0.0) * _MEBIBYTE


def flag(said: bool | None, code: bool | None, default: bool = False) -> bool:
    """Return a switch."""
    if said is not None:
        return said
    return default if code is None else code
