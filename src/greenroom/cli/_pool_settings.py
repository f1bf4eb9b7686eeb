"""Options, environment, configuration file and defaults, in this order, as what a pool is told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from greenroom.cli._configuration import Configuration, read_configuration
from greenroom.cli._options import PoolOptions, PoolWays
from greenroom.cli._schema import LogSection, PoolSection
from greenroom.cli._settings import calling_key, flags_of, own_address, websocket_url
from greenroom.config import DEV_SECRET, ApiKey, is_loopback
from greenroom.errors import ConfigError
from greenroom.pool.settings import PoolSettings, TenantsSettings

POOL_FLAGS: Final = {
    "url": "pool.url",
    "shards": "pool.shards",
    "max_sessions": "pool.max_sessions",
    "drain_timeout": "pool.drain_timeout",
    "memory_limit_mb": "pool.memory_limit_mb",
    "deployment": "pool.deployment",
    "observability_url": "pool.observability",
    "host": "pool.host",
    "port": "pool.port",
    "dev": "pool.dev",
    "metrics_jsonl": "pool.metrics_jsonl",
    "metrics_jsonl_interval": "pool.metrics_jsonl_interval",
    "metrics_json_file": "pool.metrics_json_file",
    "placement": "pool.placement",
    "swap": "pool.swap",
    "first_prefix": "pool.first_prefix",
    "only_registered_rooms": "pool.only_registered_rooms",
    "log_level": "log.level",
    "log_format": "log.format",
    "verbose": "log.level",
}
#: LiveKit's words for Greenroom's.
_LEVELS: Final = {"WARN": "WARNING", "CRITICAL": "ERROR", "TRACE": "DEBUG", "DEV": "DEBUG"}
_FORMATS: Final = {"colored": "text"}


def pool_configuration(
    paths: Sequence[Path],
    options: PoolOptions,
    ways: PoolWays,
    environment: Mapping[str, str] = os.environ,
    *,
    watch: bool | None = None,
) -> Configuration:
    """Return what was said to a pool. Raises :class:`ConfigError`."""
    flags = flags_of(options, POOL_FLAGS) | flags_of(ways, POOL_FLAGS)
    if paths:
        flags["pool.paths"] = ("PATH", [str(path) for path in paths])
    if watch is not None:
        flags["pool.watch"] = ("--watch" if watch else "--no-watch", watch)
    if options.log_level and not options.verbose:
        level = options.log_level.upper()
        flags["log.level"] = ("--log-level", _LEVELS.get(level, level))
    if options.log_format:
        flags["log.format"] = ("--log-format", _FORMATS.get(options.log_format, options.log_format))
    said = read_configuration(options.config, environment, flags)
    try:
        said.whole()
    except msgspec.ValidationError as error:
        setting = str(error).rpartition("$.")[2].rstrip("`")
        option, value = said.origins.get(setting, setting), said.get(setting)
        message = f"{option} {value} is not usable: {str(error).partition(' - at ')[0]}"
        raise ConfigError(message, fix="See: greenroom agents --help") from None
    return said


def dev_pool_settings(said: Configuration) -> PoolSettings:
    """Return what ``greenroom dev`` tells the pool of its agents; where its server is, is not for the file to say."""
    section = said.section("pool", PoolSection)
    given: dict[str, Any] = {name: getattr(section, name) for name in section.__struct_fields__}
    given |= {"url": "", "paths": (), "key": ApiKey(key="", secret="")}
    return PoolSettings(**given, tenants=said.section("tenants", TenantsSettings))


def pool_settings(
    said: Configuration, options: PoolOptions, environment: Mapping[str, str] = os.environ
) -> PoolSettings:
    """Return what a pool is told. Raises :class:`ConfigError`."""
    section = said.section("pool", PoolSection)
    given: dict[str, Any] = {name: getattr(section, name) for name in section.__struct_fields__}
    cli = options.cli_addr or options.reload_addr or ""
    given |= {
        "url": websocket_url(section.url) if section.url else own_address(said),
        "paths": tuple(Path(path) for path in section.paths),
        # LiveKit's CLI starts another program with the new code; both would be one too many.
        "watch": section.watch if said.says("pool.watch") else section.dev and not cli,
        "observability": section.observability or said.get("observability_url") or "",
    }
    key = _key(options, environment, said)
    if key.secret == DEV_SECRET and not is_loopback(section.host):
        # Everybody knows it, and its tokens drain the pool.
        raise ConfigError(
            f"Refusing to listen on {section.host} with the development key",
            fix="Pass --key KEY:SECRET with a secret of your own, or --host 127.0.0.1",
        )
    return PoolSettings(
        **given,
        key=key,
        log_level=said.section("log", LogSection).level,
        cli_address=cli,
        tenants=said.section("tenants", TenantsSettings),
    )


def _key(options: PoolOptions, environment: Mapping[str, str], said: Configuration) -> ApiKey:
    if options.api_key and options.api_secret:
        return ApiKey(key=options.api_key, secret=options.api_secret)
    if options.api_key or options.api_secret:
        raise ConfigError("--api-key and --api-secret belong together", fix="Pass both, or --key KEY:SECRET")
    return calling_key(options, environment, said)
