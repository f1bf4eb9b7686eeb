"""Options, environment, configuration file and defaults, in this order, as one server configuration."""

from __future__ import annotations

import ipaddress
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from greenroom.cli._configuration import Configuration, read_configuration
from greenroom.cli._options import ApiOptions, CallOptions, ControlOptions, KeyOptions, LogOptions, ServerOptions
from greenroom.cli._schema import ClientSection, ControlSection, KeyPolicy, Observe
from greenroom.config import (
    DEFAULT_DATA_DIR,
    DEFAULT_PORT,
    DEFAULT_RTC_PORT,
    DEV_KEY,
    DEV_SECRET,
    AgentDefaults,
    ApiKey,
    Limits,
    RecordSettings,
    RoomDefaults,
    ServerConfig,
    WebhookSettings,
    is_loopback,
    parse_key,
)
from greenroom.errors import ConfigError

_DEVELOPMENT: Final = ApiKey(key=DEV_KEY, secret=DEV_SECRET)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A server to call, and the key to do it with.

    :param url: a WebSocket address without a slash at the end.
    """

    url: str
    key: ApiKey


class ControlTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A LiveKit server to stand beside, and where to listen.

    :param keys: the first asks the server; all of them sign webhooks, uploads and operators' tokens.
    """

    livekit: str
    keys: tuple[ApiKey, ...]
    bind: str
    port: int
    allowed_hosts: tuple[str, ...]
    data_dir: Path


class ApiTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A control plane to ask.

    :param url: an HTTP address without a slash at the end.
    :param token: a bearer token; empty without one.
    """

    url: str
    token: str = ""


#: Which setting an option stands for.
SERVER_FLAGS: Final = {
    "bind": "bind",
    "port": "port",
    "rtc_port": "rtc_port",
    "node_ip": "node_ip",
    "data_dir": "data_dir",
    "observability_url": "observability_url",
    "webhook": "webhook.urls",
    "webhook_allow_private": "webhook.allow_private",
    "keep": "control.keep",
    "log_key": "control.log_key",
    "verbose": "log.level",
}
CONTROL_FLAGS: Final = {
    "livekit": "control.livekit",
    "bind": "control.bind",
    "port": "control.port",
    "allowed_host": "control.allowed_hosts",
    "data_dir": "data_dir",
    "observe": "control.observe",
    "share": "control.share",
    "keep": "control.keep",
    "log_key": "control.log_key",
    "verbose": "log.level",
}
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_REFUSALS: Final = {
    "observe": "{option} '{value}' is unknown",
    "share": "{option} {value:g} is no share",
    "port": "{option} {value} is not a port",
}
_FIXES: Final = {
    "observe": f"It is one of {', '.join(typing.get_args(Observe))}",
    "share": "Use a number from 0 to 1",
    "port": "Use 1 to 65535, or 0 for any free one",
}


def server_configuration(
    options: ServerOptions,
    environment: Mapping[str, str] = os.environ,
    more: Mapping[str, tuple[str, Any]] | None = None,
) -> Configuration:
    """Return what was said to a server. Raises :class:`ConfigError`.

    :param more: by the setting, what further options say: their names and values.
    """
    return read_configuration(options.config, environment, flags_of(options, SERVER_FLAGS) | dict(more or {}))


def server_config(options: ServerOptions, environment: Mapping[str, str] = os.environ) -> ServerConfig:
    """Return what a server is to be. Raises :class:`ConfigError`."""
    return server_of(server_configuration(options, environment), options, environment)


def server_of(said: Configuration, options: KeyOptions, environment: Mapping[str, str] = os.environ) -> ServerConfig:
    """Return what a server is to be, by what was said. Raises :class:`ConfigError`."""
    given = {name: said.get(name) for name in ("bind", "port", "rtc_port", "observability_url") if said.says(name)}
    config = ServerConfig(
        keys=_keys(options, environment, said),
        node_ip=tuple(_address(text) for text in said.get("node_ip") or ()),
        data_dir=data_dir_of(said),
        limits=said.section("limits", Limits),
        room=said.section("room", RoomDefaults),
        agent=said.section("agent", AgentDefaults),
        webhook=said.section("webhook", WebhookSettings),
        **given,
    )
    config.validate()
    return config


def data_directory(options: LogOptions, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for data. Raises :class:`ConfigError`."""
    return options.data_dir or data_dir_of(read_configuration(options.config, environment))


def data_dir_of(said: Configuration) -> Path:
    """Return the directory for data."""
    return Path(said.get("data_dir") or DEFAULT_DATA_DIR)


def api_keys(options: KeyOptions, environment: Mapping[str, str] = os.environ) -> tuple[ApiKey, ...]:
    """Return the API keys; the development key when none is given. Raises :class:`ConfigError`."""
    return _keys(options, environment, read_configuration(options.config, environment))


def call_target(options: CallOptions, environment: Mapping[str, str] = os.environ) -> Target:
    """Return which server to call. LiveKit's own variables go before Greenroom's. Raises :class:`ConfigError`."""
    said = read_configuration(options.config, environment)
    written = options.url or environment.get("LIVEKIT_URL", "").strip()
    return Target(
        url=websocket_url(written) if written else own_address(said), key=calling_key(options, environment, said)
    )


def calling_key(options: KeyOptions, environment: Mapping[str, str], said: Configuration) -> ApiKey:
    """Return the key to call a server with. Raises :class:`ConfigError`."""
    names = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
    key, secret = (environment.get(name, "").strip() for name in names)
    if options.key or not (key or secret):
        return _keys(options, environment, said)[0]
    if key and secret:
        return ApiKey(key=key, secret=secret)
    given, missing = names if key else reversed(names)
    raise ConfigError(f"{given} is set, {missing} is not", fix="Set both, or pass --key KEY:SECRET")


def control_configuration(
    options: ControlOptions, environment: Mapping[str, str] = os.environ, *, recording: bool | None = None
) -> Configuration:
    """Return what was said to a control plane. Raises :class:`ConfigError`."""
    flags = flags_of(options, CONTROL_FLAGS) | {"control.recording": ("--recording", recording)}
    return read_configuration(options.config, environment, flags)


def control_target(options: ControlOptions, environment: Mapping[str, str] = os.environ) -> ControlTarget:
    """Return which server to stand beside. Raises :class:`ConfigError`."""
    return control_of(control_configuration(options, environment), options, environment)


def control_of(
    said: Configuration, options: ControlOptions, environment: Mapping[str, str] = os.environ
) -> ControlTarget:
    """Return which server to stand beside, by what was said. Raises :class:`ConfigError`."""
    settings = control_section(said)
    first = calling_key(options, environment, said)
    keys = (first, *(key for key in _keys(options, environment, said) if key.key != first.key))
    if not is_loopback(settings.bind) and any(key.secret == DEV_SECRET for key in keys):
        raise ConfigError(
            f"Refusing to listen on {settings.bind} with the development key",
            fix="Pass --key KEY:SECRET with a secret of your own, or --bind 127.0.0.1",
        )
    return ControlTarget(
        livekit=websocket_url(settings.livekit, "--livekit") if settings.livekit else own_address(said),
        keys=keys,
        bind=settings.bind,
        port=settings.port,
        allowed_hosts=settings.allowed_hosts,
        data_dir=data_dir_of(said),
    )


def record_of(said: Configuration) -> RecordSettings:
    """Return how the record of calls is kept. Raises :class:`ConfigError`."""
    section = control_section(said)
    return RecordSettings(
        observe=section.observe,
        share=section.share,
        linger=section.linger,
        limit=section.limit,
        content=section.content,
        recording=section.recording,
        retention=parse_duration(section.keep, _named(said, "control.keep")) if section.keep else None,
        log_key=Path(section.log_key) if section.log_key else None,
        compare=section.compare,
    )


def _named(said: Configuration, name: str) -> str:
    """Return what a mistake in a setting is called by: its option, its variable, or its place in the file."""
    origin = said.origins.get(name, name)
    return name if said.file is not None and origin == str(said.file) else origin


def control_section(said: Configuration) -> ControlSection:
    """Return how a control plane works. Raises :class:`ConfigError`."""
    try:
        return said.section("control", ControlSection)
    except msgspec.ValidationError as error:
        # Files and variables have been checked: an option it is.
        name = str(error).rpartition("$.")[2].rstrip("`")
        option, value = _named(said, f"control.{name}"), said.get(f"control.{name}")
        raise ConfigError(_REFUSALS[name].format(option=option, value=value), fix=_FIXES[name]) from None


def api_target(options: ApiOptions, environment: Mapping[str, str] = os.environ) -> ApiTarget:
    """Return which control plane to ask, and as whom. Raises :class:`ConfigError`."""
    said = read_configuration(None, environment)
    client = said.section("client", ClientSection)
    written = options.url or client.url or own_address(said).replace("ws", "http", 1)
    token = (options.token or client.token).strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("The token is none", fix="Pass what greenroom login --token prints")
    return ApiTarget(url=websocket_url(written, example="http://127.0.0.1:7870").replace("ws", "http", 1), token=token)


def rtc_port(options: KeyOptions, environment: Mapping[str, str] = os.environ) -> int:
    """Return the UDP port that a server started here would open. Raises :class:`ConfigError`."""
    return read_configuration(options.config, environment).get("rtc_port") or DEFAULT_RTC_PORT


def flags_of(options: object, names: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    """Return the settings that options give, by :func:`read_configuration`'s leave."""
    found: dict[str, tuple[str, Any]] = {}
    for field, setting in names.items():
        value = getattr(options, field, None)
        if field == "verbose":
            value = "DEBUG" if value else None
        elif field == "webhook_allow_private":
            value = value or None
        elif isinstance(value, Path):
            value = str(value)
        if value is not None:
            found[setting] = (option_of(field), value)
    return found


def parse_duration(text: str, option: str = "--ttl") -> float:
    """Return the seconds that ``90``, ``15m``, ``6h`` or ``1d`` mean. Raises :class:`ConfigError`."""
    match = re.fullmatch(r"(\d+)([smhd]?)", text)
    if match is None or not int(match[1]):
        raise ConfigError(f"{option} '{text}' is not a duration", fix="For example: 15m, 6h or 30d")
    return float(int(match[1]) * _UNITS[match[2]])


def option_of(field: str) -> str:
    """Return how an option is written."""
    return f"--{field.replace('_', '-')}"


def own_address(said: Configuration) -> str:
    """Return where a server that is started here listens."""
    return f"ws://127.0.0.1:{said.get('port') or DEFAULT_PORT}"


def websocket_url(text: str, option: str = "--url", example: str = "ws://127.0.0.1:7880") -> str:
    """Return an address of a server without a slash at its end. Raises :class:`ConfigError`."""
    error = ConfigError(f"{option} '{text}' is not an address", fix=f"For example: {option} {example}")
    try:
        parts = urlsplit(text)
        scheme = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}.get(parts.scheme)
        # Asking for the port finds out whether it is one.
        if scheme is None or not parts.hostname or parts.username or (parts.port is not None and not parts.port):
            raise error
    except ValueError:
        raise error from None
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _keys(options: KeyOptions, environment: Mapping[str, str], said: Configuration) -> tuple[ApiKey, ...]:
    written = options.key or _list(environment, "GREENROOM_KEY")
    if written:
        return tuple(parse_key(text) for text in written)
    keys = tuple(
        ApiKey(key=name, secret=policy.secret, agents=policy.agents, rooms=policy.rooms)
        for name, policy in said.section("keys", dict[str, KeyPolicy]).items()
    )
    return keys or (_DEVELOPMENT,)


def _list(environment: Mapping[str, str], name: str) -> list[str] | None:
    return [part.strip() for part in environment.get(name, "").split(",") if part.strip()] or None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(
            f"--node-ip '{text}' is not an IP address", fix="For example: --node-ip 203.0.113.7"
        ) from None
